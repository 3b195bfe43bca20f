//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::messages::Question;

/// XMPP to SIP gateway: messages, presence and contacts between Jabber domains and Communications Server domains.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 done, 1 failed, 2 the command line or the settings are wrong."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until SIGTERM or SIGINT.
    Serve(Settings),
    /// Read the settings, report every problem, and stop.
    CheckConfig {
        /// Where the settings are.
        #[command(flatten)]
        settings: Settings,
        /// Do not open the certificate, key and authority files.
        #[arg(long)]
        no_files: bool,
    },
    /// Show how an address translates to the other world, and back.
    Map {
        /// A JID such as o\27neil@jabber.org, or a SIP URI such as sip:o'neil@example.com.
        address: String,
    },
    /// Ask the running gateway how it is.
    Status {
        /// Where the settings are.
        #[command(flatten)]
        settings: Settings,
        /// Print JSON.
        #[arg(long, conflicts_with = "quiet")]
        json: bool,
        /// Print nothing; the exit code tells whether the gateway runs with a certificate that has not expired.
        #[arg(long)]
        quiet: bool,
    },
    /// Show what became of messages, the newest last. It needs no running gateway.
    Messages {
        /// Where the settings are.
        #[command(flatten)]
        settings: Settings,
        /// Which messages.
        #[command(flatten)]
        question: Question,
    },
    /// Run a gateway between two small peers on this machine and show what crosses its wires. Needs no settings.
    Demo {
        /// Leave everything running until Ctrl-C and say how to reach it.
        #[arg(long)]
        hold: bool,
        /// Print each message whole.
        #[arg(long)]
        full: bool,
    },
}

/// Where the settings are.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The settings file. Keys can be overridden: STOXGATE_LOG__LEVEL=debug is log.level.
    #[arg(long, short, default_value = "gateway.toml", env = "STOXGATE_CONFIG")]
    pub config: PathBuf,
}
