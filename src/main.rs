//! The gateway program.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use stoxgate::cli::{Cli, Command, Settings};
use stoxgate::clock::Clock;
use stoxgate::config::Config;
use stoxgate::messages::Question;
use stoxgate::net::own_certificate;
use stoxgate::{admin, config, demo, log, map, messages, run};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code for settings that are wrong.
const WRONG_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(settings) => serve(&settings),
        Command::CheckConfig { settings, no_files } => check_config(&settings, no_files),
        Command::Map { address } => match map::describe(&address) {
            Ok(lines) => say(lines.trim_end()),
            Err(why) => fail(&why),
        },
        Command::Status {
            settings,
            json,
            quiet,
        } => status(&settings, json, quiet),
        Command::Messages { settings, question } => show_messages(&settings, &question),
        Command::Demo { hold, full } => demo::run(hold, full),
    }
}

fn load(settings: &Settings) -> Result<Config, ExitCode> {
    config::load(&settings.config, std::env::vars()).map_err(|problems| {
        complain(&problems.to_string());
        ExitCode::from(WRONG_SETTINGS)
    })
}

fn serve(settings: &Settings) -> ExitCode {
    let config = match load(settings) {
        Ok(config) => config,
        Err(code) => return code,
    };
    log::start(&config.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let file = settings.config.clone();
    let reread = Box::new(move || config::load(&file, std::env::vars()));
    let outcome = runtime.block_on(run::serve(config, reread));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot start: {error}")),
    }
}

fn check_config(settings: &Settings, no_files: bool) -> ExitCode {
    let config = match load(settings) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if !no_files && let Err(error) = stoxgate::net::tls::TlsSettings::load(&config.tls, &config.sip)
    {
        complain(&format!("{}: TLS: {error}", settings.config.display()));
        return ExitCode::from(WRONG_SETTINGS);
    }
    let mut findings = config::findings(&config);
    if !no_files {
        findings.extend(own_certificate::findings(&config));
    }
    for finding in findings {
        complain(&format!("warning: {finding}"));
    }
    say(&format!("{} is good", settings.config.display()))
}

fn status(settings: &Settings, json: bool, quiet: bool) -> ExitCode {
    let config = match load(settings) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let socket = &config.gateway.admin_socket;
    match admin::ask(socket) {
        Ok(status) if quiet && status.is_healthy() => ExitCode::SUCCESS,
        Ok(_) if quiet => ExitCode::FAILURE,
        Ok(status) if json => match serde_json::to_string_pretty(&status) {
            Ok(text) => say(&text),
            Err(error) => fail(&error.to_string()),
        },
        Ok(status) => say(admin::describe(&status).trim_end()),
        Err(_) if quiet => ExitCode::FAILURE,
        Err(error) => {
            let hint = match error.kind() {
                ErrorKind::PermissionDenied => {
                    "ask as the user that the gateway runs as, or as root"
                }
                _ => "is it running with these settings?",
            };
            let socket = socket.display();
            fail(&format!("no gateway answers at {socket}: {error}; {hint}"))
        }
    }
}

fn show_messages(settings: &Settings, question: &Question) -> ExitCode {
    let config = match load(settings) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if config.ledger.keep.is_zero() {
        complain("the ledger is switched off: ledger.keep is 0");
    }
    let clock = Clock::start();
    let now = || clock.now().wall;
    let folder = &config.gateway.state_dir;
    match messages::run(question, folder, now, &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn say(text: &str) -> ExitCode {
    // Whoever closed our output does not want the rest of it.
    _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}

fn complain(text: &str) {
    _ = writeln!(std::io::stderr(), "stoxgate: {text}");
}

fn fail(text: &str) -> ExitCode {
    complain(text);
    ExitCode::FAILURE
}
