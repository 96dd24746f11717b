//! The family "share": is it safe to share?
//!
//! | file | what it looks at |
//! |---|---|
//! | `leftovers` | what a running system writes: state, leases, logs, histories, caches, mail, core dumps |
//! | `identity` | machine id, host name, and what else tells one machine from another |
//! | `ssh` | host keys, authorized keys, how sshd lets people in |
//! | `users` | passwords, superusers, sudo |
//! | `modes` | setuid files, capabilities, what everybody may write |
//! | `services` | what listens, what runs by the clock, where logs go |
//! | `secrets` | keys, tokens and passwords in text files |
//! | `free` | what deleted files left in free space |
//!
//! The tree is walked once and the text files are read once. What can be told from paths and metadata reads nothing.
//!
//! Sources: the EC2 user guide on shared AMIs, the AWS Marketplace requirements for AMIs, the clean-up script of EC2 Image Builder, and for
//! what AWS leaves open, systemd's "Building Images Safely".

mod free;
mod identity;
mod leftovers;
mod modes;
mod places;
mod secrets;
mod services;
mod ssh;
mod users;

use super::finding::Findings;
use super::rule::Rule;
use super::subject::Subject;
use crate::error::Result;
use crate::tree::NodeKind;
use leftovers::Leftovers;
use secrets::Candidates;

const FILES: &[&[&Rule]] = &[leftovers::RULES, identity::RULES, ssh::RULES, users::RULES, modes::RULES, services::RULES, secrets::RULES, free::RULES];

pub(super) const RULES: &[&Rule] = &joined::<{ count(FILES) }>(FILES);

const fn count(parts: &[&[&Rule]]) -> usize {
    let (mut at, mut all) = (0, 0);
    while at < parts.len() {
        all += parts[at].len();
        at += 1;
    }
    all
}

const fn joined<const N: usize>(parts: &[&[&'static Rule]]) -> [&'static Rule; N] {
    let mut all = [parts[0][0]; N];
    let (mut part, mut to) = (0, 0);
    while part < parts.len() {
        let mut at = 0;
        while at < parts[part].len() {
            all[to] = parts[part][at];
            (at, to) = (at + 1, to + 1);
        }
        part += 1;
    }
    all
}

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    // What cannot be read in one place keeps nothing else from being looked at; the first error is told at the end.
    let looks: [fn(&Subject<'_>, &mut Findings<'_>) -> Result<()>; 6] = [walk, identity::check, ssh::check, users::check, services::check, free::check];
    let mut first = Ok(());
    for look in looks {
        subject.cancel.check()?;
        let looked = look(subject, findings);
        first = first.and(looked);
    }
    first
}

/// One walk over the tree, and one pass over what it found to be read.
fn walk(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    let tree = subject.tree();
    let mut leftovers = Leftovers::default();
    let mut candidates = Candidates::new(tree.node_count());
    let secrets = findings.want(secrets::RULES);
    tree.walk(|path, id| {
        let node = tree.node(id);
        leftovers.entry(tree, path, &node.kind, findings);
        modes::entry(tree, path, node, findings);
        if let NodeKind::File(data) = &node.kind
            && secrets
        {
            candidates.entry(path, id, data);
        }
        Ok(())
    })?;
    leftovers.finish(findings);
    candidates.scan(subject, findings)
}
