//! How text is folded for search and order, the same in every store: case and accents do not count. Must not know
//! how a store indexes words.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::Customer;

/// Folds case and accents: `Łódź` and `lodz` become the same.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(text.len());
    // Upper case first: it is what makes ß and ss, ﬁ and fi, final and other sigma one.
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_uppercase).flat_map(char::to_lowercase) {
        match c {
            'ł' => folded.push('l'),
            'ø' => folded.push('o'),
            'đ' | 'ð' => folded.push('d'),
            'ı' => folded.push('i'),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ς' => folded.push('σ'),
            _ => folded.push(c),
        }
    }
    folded.nfkd().filter(|c| !is_combining_mark(*c)).collect()
}

/// The words of a query, folded; each must begin a word of the customers that are found.
#[must_use]
pub fn query_words(query: &str) -> Vec<String> {
    let words: BTreeSet<String> = fold(query).split_whitespace().map(str::to_owned).collect();
    words.into_iter().collect()
}

/// The words by which a customer is found: those of its display name (as written, and their parts between marks
/// such as `-` and `'`), its contact number (as written, and its digits alone), its e-mail address and its account
/// number.
#[must_use]
pub fn words_of(customer: &Customer) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for word in fold(&customer.display_name()).split_whitespace() {
        words.extend(word.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).map(str::to_owned));
        words.insert(word.to_owned());
    }
    if let Some(mobile) = customer.mobile() {
        words.insert(mobile.as_str().chars().filter(char::is_ascii_digit).collect());
        words.extend(fold(mobile.as_str()).split_whitespace().map(str::to_owned));
    }
    if let Some(email) = customer.email() {
        words.insert(fold(email.as_str()));
    }
    words.insert(customer.account_no().to_string());
    words.remove("");
    words
}

/// Whether a customer is found by those query words: what every store's index must agree with.
#[must_use]
pub fn finds(customer: &Customer, query_words: &[String]) -> bool {
    let words = words_of(customer);
    query_words.iter().all(|wanted| words.iter().any(|word| word.starts_with(wanted.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_do_not_count() {
        for (text, folded) in [
            ("ÉMILIE", "emilie"),
            ("Łódź", "lodz"),
            ("Straße", "strasse"),
            ("ﬁn", "fin"),
            ("Ærø", "aero"),
            ("İstanbul", "istanbul"),
            ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
            ("O'Brien", "o'brien"),
        ] {
            assert_eq!(fold(text), folded, "{text}");
            assert_eq!(fold(&fold(text)), folded, "folding twice changes nothing: {text}");
        }
    }

    #[test]
    fn a_query_is_split_into_distinct_folded_words() {
        assert_eq!(query_words("  Ada ada LOVE "), ["ada", "love"]);
        assert!(query_words(" \t ").is_empty());
    }
}
