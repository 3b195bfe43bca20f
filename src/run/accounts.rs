//! The accounts of SIP users while the gateway runs: SIGHUP reads them anew.

use stox_xmpp::server::Software;
use tokio::sync::mpsc;

use super::Reread;
use crate::streams::{AccountPlan, account_plans};

/// Reads each time that the channel `again` says so. What is read comes out of the other one.
pub(super) fn spawn(
    reread: Reread,
    software: Software,
    mut again: mpsc::Receiver<()>,
) -> mpsc::Receiver<Vec<AccountPlan>> {
    let (sender, changed) = mpsc::channel(1);
    tokio::spawn(async move {
        while again.recv().await.is_some() {
            // The files are small, and this task does nothing else.
            let Some(plans) = tokio::task::block_in_place(|| read(&reread, &software)) else {
                continue;
            };
            tracing::info!(accounts = plans.len(), "XMPP accounts read anew");
            if sender.send(plans).await.is_err() {
                return;
            }
        }
    });
    changed
}

fn read(reread: &Reread, software: &Software) -> Option<Vec<AccountPlan>> {
    match reread() {
        Ok(config) => match account_plans(&config, software) {
            Ok(plans) => return Some(plans),
            Err(why) => {
                tracing::error!("XMPP accounts are not read anew, and stay as they are: {why}")
            }
        },
        Err(problems) => {
            tracing::error!("XMPP accounts are not read anew, and stay as they are: {problems}");
        }
    }
    None
}
