//! The family "boot": will it come up on Nitro, and can its owner log in?
//!
//! | file | rules about |
//! |---|---|
//! | `machines` | kernel, loader and init: whether they are there and for one processor |
//! | `drivers` | NVMe, ENA and the root's filesystem, in the kernel or in its initramfs |
//! | `roots` | root=, console=, GRUB's `search`: whether what they name is on the disk |
//! | `growth` | backup GPT, place of the root, what grows it |
//! | `access` | who fetches the SSH key, whether SSH starts |
//! | `network` | DHCP, fixed MACs, addresses and names |
//!
//! and what they read: `entries` (what a loader starts), `script` (GRUB's configuration), `modules` (a kernel's drivers), `image` (an
//! initramfs), `services` (what starts by itself), `netfiles` (files that configure interfaces).
//!
//! A tree without a disk is judged as what `build` makes of it: it brings table, loader and fstab.

mod access;
mod drivers;
mod entries;
mod growth;
mod image;
mod machines;
mod modules;
mod netfiles;
mod network;
mod roots;
mod script;
mod services;
#[cfg(test)]
mod tests;

pub(super) use growth::tells;

use super::finding::Findings;
use super::rule::Rule;
use super::subject::Subject;
use crate::error::{ErrorKind, Result};

const fn count() -> usize {
    machines::RULES.len() + drivers::RULES.len() + roots::RULES.len() + growth::RULES.len() + access::RULES.len() + network::RULES.len()
}

/// All rules of the family, by topic.
pub(super) const RULES: &[&Rule] = &{
    let parts: [&[&Rule]; 6] = [machines::RULES, drivers::RULES, roots::RULES, growth::RULES, access::RULES, network::RULES];
    let mut all = [machines::RULES[0]; count()];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut rule = 0;
        while rule < parts[part].len() {
            all[at] = parts[part][rule];
            (rule, at) = (rule + 1, at + 1);
        }
        part += 1;
    }
    all
};

/// Looks for what keeps an image from coming up.
///
/// # Errors
/// Those of reading.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    if !findings.want(RULES) {
        return Ok(());
    }
    let entries = entries::find(subject)?;
    let default = entries.chosen();
    let cmdline = default.and_then(|entry| entry.cmdline.clone());
    part("kernel and loader", machines::check_presence(subject, &entries, findings), findings)?;
    if let Some(entry) = default.filter(|entry| entry.kernel.is_some()) {
        let started = drivers::check(subject, entry, findings);
        let judged = started.and_then(|started| machines::check_machines(subject, entry, &started, findings));
        part("drivers and architecture", judged, findings)?;
    }
    part("command lines", roots::check(subject, &entries, findings), findings)?;
    part("growth", growth::check(subject, findings), findings)?;
    let cloud_init = access::cloud_init(subject, cmdline.as_deref(), findings);
    let cloud_init = match cloud_init {
        Ok(state) => state,
        Err(error) => {
            part("cloud-init", Err(error), findings)?;
            access::CloudInit::Active
        }
    };
    part("SSH", access::check(subject, cloud_init, findings), findings)?;
    part("network", network::check(subject, cloud_init, cmdline.as_deref(), findings), findings)
}

/// What cannot be judged keeps nothing else from being judged; only what ends all of lint is an error.
fn part(what: &str, result: Result<()>, findings: &mut Findings<'_>) -> Result<()> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Internal | ErrorKind::SourceChanged) => Err(error),
        Err(error) => {
            findings.cannot_check(format!("boot: {what}, not all of it: {error}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
