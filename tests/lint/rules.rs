//! Rules as such: names, severities by purpose, what is accepted, how findings are told.

use crate::{options, source};
use rootvol::lint::{Allowance, LintOptions, Purpose, Severity, lint_source, rule, rules};
use std::collections::BTreeSet;

#[test]
fn every_rule_has_a_name_of_its_own_a_reason_a_remedy_and_a_source() {
    let all = rules();
    let ids: BTreeSet<&str> = all.iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), all.len(), "names are unique");
    assert!(all.len() >= 30, "{}", all.len());
    for rule in all {
        assert!(rule.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'), "{}", rule.id);
        for text in [rule.why, rule.mend, rule.source] {
            assert!(text.len() > 5 && !text.contains(char::is_control) && !text.contains("  "), "{}: {text:?}", rule.id);
        }
        assert!(!rule.concerns.is_empty(), "{}", rule.id);
    }
    assert!(rule("no-such-rule").is_err());
}

#[test]
fn purposes_choose_the_rules_and_how_bad_they_are() {
    let os = rule("os-unknown").unwrap();
    assert_eq!(os.severity_for(&[]), Some(Severity::Warning), "not every image is imported");
    assert_eq!(os.severity_for(&[Purpose::ImportImage]), Some(Severity::Error));
    assert_eq!(os.severity_for(&[Purpose::Ebs]), None);
    let fstab = rule("fstab-device-names").unwrap();
    assert_eq!(fstab.severity_for(&[]), Some(Severity::Error));
    assert_eq!(fstab.severity_for(&[Purpose::Ebs, Purpose::Public]), Some(Severity::Error));
}

#[test]
fn a_finding_is_accepted_by_rule_and_path_with_its_reason() {
    let tree = source(&[("sbin/init", ""), ("etc/fstab", "/dev/sda1 / ext4 rw 0 1\nUUID=1 none swap sw 0 0\n")]);
    let with = |name: &str, path: Option<&str>| {
        let mut options = LintOptions::default();
        options.allow.push(Allowance { rule: rule(name).unwrap(), path: path.map(|path| path.as_bytes().to_vec()), reason: "it is so".to_owned() });
        lint_source(&tree, &options).unwrap()
    };
    let plain = lint_source(&tree, &LintOptions::default()).unwrap();
    assert!(plain.allowed.is_empty() && plain.refuse_errors().is_err());
    for path in [None, Some("/etc/fstab"), Some("etc"), Some("/")] {
        let linted = with("fstab-device-names", path);
        assert_eq!(linted.allowed.len(), 1, "{path:?}");
        assert_eq!(linted.findings.len() + 1, plain.findings.len());
        assert!(linted.to_string().contains("allowed[fstab-device-names] /etc/fstab:1: / is mounted from /dev/sda1 (it is so)"));
    }
    for path in ["/et", "/etc/fstab/x", "/usr"] {
        assert!(with("fstab-device-names", Some(path)).allowed.is_empty(), "{path}");
    }
    assert_eq!(with("swap-on-ebs", None).allowed.len(), 1);
}

#[test]
fn findings_are_told_worst_first_and_nothing_of_the_image_controls_a_terminal() {
    let tree = source(&[("sbin/init", ""), ("etc/fstab", "/dev/sda\x1b[31m / ext4 rw 0 1\n"), ("usr/bin/vmtoolsd", "")]);
    let linted = lint_source(&tree, &options(&[Purpose::ImportImage, Purpose::Ebs])).unwrap();
    let severities: Vec<Severity> = linted.findings.iter().map(|finding| finding.severity).collect();
    assert!(severities.is_sorted_by(|a, b| a >= b), "{severities:?}");
    let text = linted.to_string();
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert!(text.contains("error[fstab-device-names] /etc/fstab:1: / is mounted from /dev/sda\\x1B[31m"), "{text}");
    assert!(text.contains("\n    why: ") && text.contains("\n    mend: ") && text.contains("\n    source: "));
    let json = serde_json::to_value(&linted).unwrap();
    let finding = &json["findings"][0];
    for member in ["rule", "severity", "place", "message", "why", "mend", "source"] {
        assert!(!finding[member].is_null(), "{member}");
    }
}

#[test]
fn of_a_rule_that_objects_to_much_the_first_are_listed_and_all_counted() {
    let lines: String = (0..100).map(|nth| format!("/dev/sdb{nth} /mnt/{nth} ext4 rw 0 2\n")).collect();
    let linted = lint_source(&source(&[("sbin/init", ""), ("etc/fstab", &lines)]), &LintOptions::default()).unwrap();
    let text = linted.to_string();
    assert_eq!(text.matches("error[fstab-device-names] /etc/fstab:").count(), rootvol::lint::LISTED_PER_RULE);
    assert!(text.contains("error[fstab-device-names] and 75 more"), "{text}");
}

#[test]
fn every_rule_is_named_by_a_test() {
    let tests = [
        include_str!("disks.rs"),
        include_str!("import.rs"),
        include_str!("trees.rs"),
        include_str!("../lint_boot.rs"),
        include_str!("../lint_share.rs"),
        include_str!("../../src/lint/boot/tests.rs"),
        include_str!("../../src/lint/share/secrets/tests.rs"),
    ];
    for rule in rules() {
        // Findings in free space are told apart by what stands behind their name.
        let quoted = format!("\"{}", rule.id);
        assert!(rule.id == "free-space-data" || tests.iter().any(|test| test.contains(&quoted)), "no test names {}", rule.id);
    }
}
