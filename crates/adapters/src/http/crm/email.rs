//! Why a text is no e-mail address, in the words of Python's `email-validator`, which Pydantic repeats.
//!
//! Owns those words. What is an address at all is decided by the domain's [`EmailAddress`] after these checks.

use std::collections::BTreeSet;

use custodia_domain::EmailAddress;

const LONGEST_TEXT: usize = 2048;
const LONGEST_DOMAIN: usize = 253;
const LONGEST_LABEL: usize = 63;

/// Reads an address; white space around it does not count.
///
/// # Errors
/// What is wrong with it, without the text itself but for single characters that it must not hold.
pub(super) fn parse(text: &str) -> Result<EmailAddress, String> {
    let text = text.trim();
    if text.chars().count() > LONGEST_TEXT {
        return Err(format!("Length must not exceed {LONGEST_TEXT} characters"));
    }
    let at = text.find(['@', '<']).ok_or("An email address must have an @-sign.")?;
    let (mailbox, domain) = text.split_at(at);
    let Some(domain) = domain.strip_prefix('@') else {
        return Err("A display name and angle brackets around the email address are not permitted here.".into());
    };
    check_mailbox(mailbox)?;
    check_domain(domain)?;
    let length = text.chars().count();
    if length > EmailAddress::LIMIT {
        return Err(format!("The email address is too long {}.", excess(length, EmailAddress::LIMIT)));
    }
    EmailAddress::parse(text).map_err(|_| "The email address is not valid.".into())
}

fn check_mailbox(mailbox: &str) -> Result<(), String> {
    if mailbox.is_empty() {
        return Err("There must be something before the @-sign.".into());
    }
    if mailbox.starts_with('"') {
        return Err("Quoting the part before the @-sign is not allowed here.".into());
    }
    let allowed = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(c);
    let bad = listed(mailbox.chars().filter(|c| !allowed(*c)));
    if !bad.is_empty() {
        return Err(format!("The email address contains invalid characters before the @-sign: {bad}."));
    }
    check_unsafe(mailbox)?;
    if mailbox.ends_with('.') {
        return Err("An email address cannot have a period immediately before the @-sign.".into());
    }
    if mailbox.starts_with('.') {
        return Err("An email address cannot start with a period.".into());
    }
    check_periods(mailbox)
}

fn check_domain(domain: &str) -> Result<(), String> {
    if domain.is_empty() {
        return Err("There must be something after the @-sign.".into());
    }
    if domain.starts_with('[') && domain.ends_with(']') {
        return Err("A bracketed IP address after the @-sign is not allowed here.".into());
    }
    let length = domain.chars().count();
    if length > LONGEST_DOMAIN {
        let excess = excess(length, LONGEST_DOMAIN);
        return Err(format!("The email address is too long after the @-sign {excess}."));
    }
    let allowed = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let bad = listed(domain.chars().filter(|c| !allowed(*c)));
    if !bad.is_empty() {
        return Err(format!("The part after the @-sign contains invalid characters: {bad}."));
    }
    check_unsafe(domain)?;
    for (mark, name) in [('.', "period"), ('-', "hyphen")] {
        if domain.ends_with(mark) {
            return Err(format!("An email address cannot end with a {name}."));
        }
        if domain.starts_with(mark) {
            return Err(format!("An email address cannot have a {name} immediately after the @-sign."));
        }
        check_periods(domain)?;
    }
    if domain.contains(".-") || domain.contains("-.") {
        return Err("An email address cannot have a period and a hyphen next to each other.".into());
    }
    check_labels(domain)
}

fn check_labels(domain: &str) -> Result<(), String> {
    for label in domain.split('.') {
        let length = label.chars().count();
        if length > LONGEST_LABEL {
            let excess = excess(length, LONGEST_LABEL);
            return Err(format!("After the @-sign, periods cannot be separated by so many characters {excess}."));
        }
    }
    let Some((_, last)) = domain.rsplit_once('.') else {
        return Err("The part after the @-sign is not valid. It should have a period.".into());
    };
    if last.is_ascii() && !last.ends_with(|c: char| c.is_ascii_alphabetic()) {
        return Err("The part after the @-sign is not valid. It is not within a valid top-level domain.".into());
    }
    Ok(())
}

fn check_periods(part: &str) -> Result<(), String> {
    if part.contains("..") { Err("An email address cannot have two periods in a row.".into()) } else { Ok(()) }
}

fn check_unsafe(part: &str) -> Result<(), String> {
    let bad = listed(part.chars().filter(|c| !c.is_ascii() && (c.is_control() || c.is_whitespace())));
    if bad.is_empty() { Ok(()) } else { Err(format!("The email address contains unsafe characters: {bad}.")) }
}

/// The distinct characters as they are told, in order.
fn listed(characters: impl Iterator<Item = char>) -> String {
    let told: BTreeSet<String> = characters
        .map(|c| match c {
            ' ' => "SPACE".to_owned(),
            '\u{a0}' => "NO-BREAK SPACE".to_owned(),
            '\\' => "\"\\\"".to_owned(),
            _ if c.is_control() || c.is_whitespace() => format!("U+{:04X}", u32::from(c)),
            _ => format!("'{c}'"),
        })
        .collect();
    told.into_iter().collect::<Vec<_>>().join(", ")
}

fn excess(length: usize, limit: usize) -> String {
    let excess = length - limit;
    format!("({excess} character{} too many)", if excess > 1 { "s" } else { "" })
}
