//! The ClientToken of a request: the same request gives the same token, so that sending it twice starts one task.
//!
//! The token is the SHA-256, in 64 hex digits, of the request as canonical JSON without `ClientToken` (members sorted by
//! name, no blanks), a newline, and the number of the attempt in decimal. With jq:
//! `{ jq -cS 'del(.ClientToken)' import-image.json; printf 1; } | sha256sum`.
//!
//! AWS answers a token it knows with the task it knows, a failed one too: after a failure the attempt is raised. The
//! disk's description carries the image's checksum, so another image under the same key has another token.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The token of attempt number `attempt` of `request`.
pub(super) fn client_token(request: &impl Serialize, attempt: u32) -> String {
    let mut value = serde_json::to_value(request).expect("a request has only named members and strings, numbers and lists in them");
    if let Value::Object(members) = &mut value {
        members.remove("ClientToken");
    }
    let mut text = String::new();
    write_canonical(&value, &mut text);
    let _ = write!(text, "\n{attempt}");
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Members sorted by their bytes, whatever order the map keeps. As deep as a request, so recursion is bounded.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| name.as_bytes());
            out.push('{');
            for (index, (name, member)) in sorted.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                let _ = write!(out, "{}:", Value::from(name.as_str()));
                write_canonical(member, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_canonical(item, out);
            }
            out.push(']');
        }
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}
