//! One pattern of a policy: from PCRE's syntax to that of the crate `regex`, with the same meaning.
//!
//! libselinux compiles `^PATTERN$` with PCRE2 (option DOTALL, bytes, no locale). What is a regular expression in the strict sense
//! has the same matches in any engine, so translating the syntax is enough: every byte and every class is written out as hexadecimal
//! digits, and nothing that the two syntaxes read differently (`[a&&b]`, `\v`, `\<`, `x++`) gets through as it stands.
//!
//! - `^` and `$` bind tighter than `|`, so `^/a|/b$` begins with /a or ends in /b, and so it does here.
//! - PCRE's `$` also matches before a line feed that ends the path. Here it is the very end, and the caller tries a path that ends
//!   in a line feed without it, too. A `$` inside of a pattern would need more and is refused.
//!
//! **Refused**: look-around, back references, possessive quantifiers, atomic groups and all other `(?…)` and `(*…)` but `(?:`,
//! `\Q…\E`, escapes of letters and digits other than `\d \D \w \W \s \S \t \n \r \f \a \e \xHH`, collating elements, what PCRE refuses, and
//! patterns over [`STEPS_MAX`].

use std::fmt::Write as _;

/// Steps (bytes and classes, repetitions written out) of one pattern. Policies have some hundred at most; the limit bounds the
/// memory of the compiled form.
pub(super) const STEPS_MAX: usize = 10_000;
/// Groups in groups.
const DEPTH_MAX: usize = 100;

/// A pattern that is understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// For the crate `regex` without Unicode; anchored as libselinux anchors it.
    pub(super) text: String,
    /// The one path that it matches, where it has nothing but bytes.
    pub(super) literal: Option<Vec<u8>>,
    /// Its size, at most [`STEPS_MAX`].
    pub(super) steps: usize,
}

/// A set of bytes, a bit for each.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bytes([u128; 2]);

impl Bytes {
    fn of(is_in: impl Fn(u8) -> bool) -> Self {
        let half = |from: u8| (0..128).filter(|bit| is_in(from + bit)).fold(0, |bits, bit| bits | 1 << bit);
        Self([half(0), half(128)])
    }

    fn has(self, byte: u8) -> bool {
        self.0[usize::from(byte / 128)] >> (byte % 128) & 1 == 1
    }

    fn and_also(self, other: Self) -> Self {
        Self([self.0[0] | other.0[0], self.0[1] | other.0[1]])
    }

    fn inverted(self) -> Self {
        Self(self.0.map(|bits| !bits))
    }

    /// `[\x30-\x39\x5F-\x5F]`.
    fn write(self, out: &mut String) {
        out.push('[');
        let mut from = None;
        for byte in 0..=u8::MAX {
            match from {
                None if self.has(byte) => from = Some(byte),
                Some(start) if !self.has(byte) => {
                    let _ = write!(out, "\\x{start:02X}-\\x{:02X}", byte - 1);
                    from = None;
                }
                _ => {}
            }
        }
        if let Some(start) = from {
            let _ = write!(out, "\\x{start:02X}-\\xFF");
        }
        out.push(']');
    }
}

/// What a backslash makes of the byte behind it.
enum Escaped {
    Byte(u8),
    Class(Bytes),
}

/// Why a pattern is not taken; the caller adds file and line.
type Refused = String;

/// Translates `pattern`, which is one word of ASCII.
pub(super) fn translate(pattern: &[u8]) -> Result<Pattern, Refused> {
    let mut translation = Translation { rest: pattern, out: String::from("\\A"), literal: Some(Vec::new()), groups: vec![0], last: None };
    while let Some((byte, rest)) = translation.rest.split_first() {
        translation.rest = rest;
        translation.next(*byte)?;
        if translation.groups.iter().copied().fold(0, usize::saturating_add) > STEPS_MAX {
            return Err(format!("the pattern has over {STEPS_MAX} bytes and classes once its repetitions are written out"));
        }
    }
    let Translation { mut out, literal, groups, .. } = translation;
    let [steps] = groups[..] else { return Err("a group is not closed: \")\" was expected".to_owned()) };
    out.push_str("\\z");
    Ok(Pattern { text: out, literal, steps })
}

struct Translation<'a> {
    rest: &'a [u8],
    out: String,
    /// Until something is met that is no byte.
    literal: Option<Vec<u8>>,
    /// The steps of every open group, the whole pattern first.
    groups: Vec<usize>,
    /// The steps of what a quantifier would repeat.
    last: Option<usize>,
}

impl Translation<'_> {
    fn next(&mut self, byte: u8) -> Result<(), Refused> {
        match byte {
            b'\\' => match self.escaped()? {
                Escaped::Byte(byte) => self.byte(byte),
                Escaped::Class(class) => self.class(class),
            },
            b'[' => {
                let class = self.bracket()?;
                self.class(class);
            }
            b'.' => self.class(Bytes::of(|_| true)),
            b'(' => return self.open(),
            b')' => return self.close(),
            b'|' => self.plain("|"),
            b'^' => self.plain("\\A"),
            b'$' if self.groups.len() == 1 && matches!(self.rest.first(), None | Some(b'|')) => self.plain("\\z"),
            b'$' => return Err("a \"$\" before the end is not supported; for the character write \"\\$\"".to_owned()),
            b'*' => return self.quantifier("*", 1),
            b'+' => return self.quantifier("+", 1),
            b'?' => return self.quantifier("?", 1),
            b'{' => return self.brace(),
            byte => self.byte(byte),
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() || byte == b'/' {
            self.out.push(char::from(byte));
        } else {
            let _ = write!(self.out, "\\x{byte:02X}");
        }
        if let Some(literal) = &mut self.literal {
            literal.push(byte);
        }
        self.item(1);
    }

    fn class(&mut self, class: Bytes) {
        self.literal = None;
        class.write(&mut self.out);
        self.item(1);
    }

    /// What matches no byte itself and cannot be repeated.
    fn plain(&mut self, text: &str) {
        self.literal = None;
        self.out.push_str(text);
        self.last = None;
    }

    fn item(&mut self, steps: usize) {
        self.last = Some(steps);
        if let Some(group) = self.groups.last_mut() {
            *group = group.saturating_add(steps);
        }
    }

    fn open(&mut self) -> Result<(), Refused> {
        match self.rest {
            [b'?', b':', rest @ ..] => self.rest = rest,
            [b'?' | b'*', ..] => return Err("of the groups with a special meaning only \"(?:\" is supported".to_owned()),
            _ => {}
        }
        if self.groups.len() > DEPTH_MAX {
            return Err(format!("over {DEPTH_MAX} groups in groups"));
        }
        self.plain("(?:");
        self.groups.push(0);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Refused> {
        if self.groups.len() == 1 {
            return Err("\")\" without \"(\" before it; for the character write \"\\)\"".to_owned());
        }
        self.plain(")");
        // An empty group costs a step as well, or a thousand of them would cost nothing.
        let steps = self.groups.pop().map_or(1, |steps| steps.max(1));
        self.item(steps);
        Ok(())
    }

    /// `text` repeats the last item, `times` at most where that is bounded.
    fn quantifier(&mut self, text: &str, times: usize) -> Result<(), Refused> {
        let Some(last) = self.last.take() else {
            return Err(format!("there is nothing that {text:?} could repeat; for the character write a \"\\\" before it"));
        };
        self.plain(text);
        if let Some(group) = self.groups.last_mut() {
            *group = group.saturating_add(last.saturating_mul(times.saturating_sub(1)));
        }
        match self.rest {
            // The fewest first: another order of trying, the same matches.
            [b'?', rest @ ..] => self.rest = rest,
            [b'+', ..] => return Err("possessive quantifiers, which end in \"+\", are not supported".to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// `{2}`, `{2,}` and `{2,3}`; any other brace is a character, as before PCRE2 10.43.
    fn brace(&mut self) -> Result<(), Refused> {
        let Some(end) = self.rest.iter().position(|byte| *byte == b'}') else {
            self.byte(b'{');
            return Ok(());
        };
        let inside = &self.rest[..end];
        if inside.first() == Some(&b',') && inside[1..].iter().all(u8::is_ascii_digit) && inside.len() > 1 {
            return Err("versions of PCRE2 differ on \"{,N}\"; write \"{0,N}\", or \"\\{\" for the character".to_owned());
        }
        let (least, most) = match inside.iter().position(|byte| *byte == b',') {
            Some(comma) => (&inside[..comma], Some(&inside[comma + 1..])),
            None => (inside, None),
        };
        let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
        if least.is_empty() || !digits(least) || !most.is_none_or(digits) {
            self.byte(b'{');
            return Ok(());
        }
        let least = number(least)?;
        let (text, times) = match most {
            None => (format!("{{{least}}}"), least),
            Some([]) => (format!("{{{least},}}"), least.saturating_add(1)),
            Some(most) => {
                let most = number(most)?;
                if most < least {
                    return Err(format!("the repetition {{{least},{most}}} ends before it begins"));
                }
                (format!("{{{least},{most}}}"), most)
            }
        };
        self.rest = &self.rest[end + 1..];
        self.quantifier(&text, times)
    }

    fn escaped(&mut self) -> Result<Escaped, Refused> {
        let Some((byte, rest)) = self.rest.split_first() else { return Err("the pattern ends in a \"\\\"".to_owned()) };
        self.rest = rest;
        let digit = |byte: u8| byte.is_ascii_digit();
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let space = |byte: u8| matches!(byte, b'\t'..=b'\r' | b' ');
        Ok(match byte {
            b'd' => Escaped::Class(Bytes::of(digit)),
            b'D' => Escaped::Class(Bytes::of(digit).inverted()),
            b'w' => Escaped::Class(Bytes::of(word)),
            b'W' => Escaped::Class(Bytes::of(word).inverted()),
            b's' => Escaped::Class(Bytes::of(space)),
            b'S' => Escaped::Class(Bytes::of(space).inverted()),
            b't' => Escaped::Byte(b'\t'),
            b'n' => Escaped::Byte(b'\n'),
            b'r' => Escaped::Byte(b'\r'),
            b'f' => Escaped::Byte(0x0c),
            b'a' => Escaped::Byte(0x07),
            b'e' => Escaped::Byte(0x1b),
            b'x' => match self.rest {
                [high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    self.rest = rest;
                    Escaped::Byte(hexadecimal(*high) * 16 + hexadecimal(*low))
                }
                _ => return Err("two hexadecimal digits were expected behind \"\\x\"".to_owned()),
            },
            byte if byte.is_ascii_alphanumeric() => return Err(format!("the escape \"\\{}\" is not supported", char::from(*byte))),
            byte => Escaped::Byte(*byte),
        })
    }

    /// What stands behind a `[`, to its end.
    fn bracket(&mut self) -> Result<Bytes, Refused> {
        if posix_end(self.rest).is_some() {
            return Err("\"[:\", \"[.\" and \"[=\" stand in classes only, as in \"[[:alpha:]]\"".to_owned());
        }
        let inverted = self.rest.first() == Some(&b'^');
        if inverted {
            self.rest = &self.rest[1..];
        }
        let mut set = Bytes([0; 2]);
        let mut first = true;
        loop {
            let (byte, rest) = self.rest.split_first().ok_or("a class is not closed: \"]\" was expected")?;
            if *byte == b']' && !first {
                self.rest = rest;
                break;
            }
            first = false;
            let low = self.in_bracket()?;
            let [b'-', after, ..] = self.rest else {
                set = set.and_also(low.class());
                continue;
            };
            if *after == b']' {
                set = set.and_also(low.class());
                continue;
            }
            self.rest = &self.rest[1..];
            match (low, self.in_bracket()?) {
                (Escaped::Byte(low), Escaped::Byte(high)) if low <= high => set = set.and_also(Bytes::of(|byte| (low..=high).contains(&byte))),
                (Escaped::Byte(_), Escaped::Byte(_)) => return Err("a range of a class ends before it begins".to_owned()),
                _ => return Err("a range has a class at one of its ends; write \"\\-\" for the character".to_owned()),
            }
        }
        let set = if inverted { set.inverted() } else { set };
        if set != Bytes([0; 2]) { Ok(set) } else { Err("a class that no byte is in".to_owned()) }
    }

    /// One byte or class between brackets.
    fn in_bracket(&mut self) -> Result<Escaped, Refused> {
        match self.rest {
            [b'[', rest @ ..] => {
                let Some(end) = posix_end(rest) else {
                    self.rest = rest;
                    return Ok(Escaped::Byte(b'['));
                };
                self.rest = &rest[end + 2..];
                match rest[0] {
                    b':' => posix(&rest[1..end]).map(Escaped::Class),
                    _ => Err("collating elements are not supported; write \"\\[\" for the character".to_owned()),
                }
            }
            [b'\\', rest @ ..] => {
                self.rest = rest;
                self.escaped()
            }
            [byte, rest @ ..] => {
                self.rest = rest;
                Ok(Escaped::Byte(*byte))
            }
            [] => Err("a class is not closed: \"]\" was expected".to_owned()),
        }
    }
}

impl Escaped {
    fn class(self) -> Bytes {
        match self {
            Self::Byte(byte) => Bytes::of(|other| other == byte),
            Self::Class(class) => class,
        }
    }
}

/// Where the `:]` is that ends what begins with `:` behind a `[`; alike for `.` and `=`. `None` where that is no such thing, but a
/// character.
fn posix_end(text: &[u8]) -> Option<usize> {
    let mark = *text.first().filter(|byte| b":.=".contains(byte))?;
    let mut at = 1;
    loop {
        match text.get(at..at + 2)? {
            [b'\\', b']' | b'\\'] => at += 1,
            [b'[', next] if *next == mark => return None,
            [b']', _] => return None,
            [byte, b']'] if *byte == mark => return Some(at),
            _ => {}
        }
        at += 1;
    }
}

fn posix(name: &[u8]) -> Result<Bytes, Refused> {
    let (name, inverted) = name.strip_prefix(b"^").map_or((name, false), |name| (name, true));
    let has: fn(u8) -> bool = match name {
        b"alnum" => |byte| byte.is_ascii_alphanumeric(),
        b"alpha" => |byte| byte.is_ascii_alphabetic(),
        b"ascii" => |byte| byte.is_ascii(),
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => |byte| byte.is_ascii_control(),
        b"digit" => |byte| byte.is_ascii_digit(),
        b"graph" => |byte| byte.is_ascii_graphic(),
        b"lower" => |byte| byte.is_ascii_lowercase(),
        b"print" => |byte| byte.is_ascii_graphic() || byte == b' ',
        b"punct" => |byte| byte.is_ascii_punctuation(),
        b"space" => |byte| matches!(byte, b'\t'..=b'\r' | b' '),
        b"upper" => |byte| byte.is_ascii_uppercase(),
        b"word" => |byte| byte.is_ascii_alphanumeric() || byte == b'_',
        b"xdigit" => |byte| byte.is_ascii_hexdigit(),
        _ => return Err("an unknown class between \"[:\" and \":]\"; alnum, alpha, ascii, blank, cntrl, digit, graph, lower, print, punct, space, upper, word or xdigit was expected".to_owned()),
    };
    let set = Bytes::of(has);
    Ok(if inverted { set.inverted() } else { set })
}

fn number(digits: &[u8]) -> Result<usize, Refused> {
    let value = digits.iter().fold(0_usize, |value, digit| value.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    if value > STEPS_MAX { Err(format!("a repetition of over {STEPS_MAX} times")) } else { Ok(value) }
}

/// The value of a hexadecimal digit.
fn hexadecimal(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
