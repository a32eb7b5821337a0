//! ISO-8601 instants as banks send them: with seconds or without, offsets in either form, or a plain date. Must not know any
//! field.

use std::borrow::Cow;

use custodia_domain::{Date, Timestamp};

const SHAPE: &str = "must be an ISO-8601 date-time with an offset, such as 2017-01-01T08:00:00Z, or a date";

/// Reads an instant; a plain date is its midnight in UTC.
///
/// # Errors
/// What is wrong with it, for the caller.
pub(super) fn parse(text: &str) -> Result<Timestamp, &'static str> {
    const NONE: &str = "is no instant of the calendar";
    if !text.is_ascii() {
        return Err(SHAPE);
    }
    if text.len() == 10 {
        let date = Date::parse(text).map_err(|error| match error {
            custodia_domain::DateError::Shape => SHAPE,
            custodia_domain::DateError::NoSuchDay => NONE,
        })?;
        return date.midnight_utc().map_err(|_| NONE);
    }
    let whole = in_full(text).ok_or(SHAPE)?;
    Timestamp::parse(&whole).map_err(|error| match error {
        custodia_domain::TimestampError::Shape => SHAPE,
        custodia_domain::TimestampError::OutOfRange => NONE,
    })
}

/// The same with seconds and minutes of the offset written out (RFC 3339).
fn in_full(text: &str) -> Option<Cow<'_, str>> {
    let (date, time) = text.split_once('T')?;
    let (clock, offset) = time.split_at(time.find(['Z', '+', '-'])?);
    let seconds = if clock.len() == 5 { ":00" } else { "" };
    Some(match (offset.len(), seconds) {
        (1 | 6, "") => text.into(),
        (1 | 6, _) => format!("{date}T{clock}{seconds}{offset}").into(),
        (3, _) => format!("{date}T{clock}{seconds}{offset}:00").into(),
        (5, _) => format!("{date}T{clock}{seconds}{}:{}", &offset[..3], &offset[3..]).into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_has_one_meaning_in_all_its_forms() {
        for text in [
            "2017-01-01T08:00:00Z",
            "2017-01-01T08:00:00.000Z",
            "2017-01-01T08:00Z",
            "2017-01-01T10:00:00+02:00",
            "2017-01-01T10:00+0200",
            "2017-01-01T10:00:00.0+02",
            "2016-12-31T23:30:00-08:30",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), "2017-01-01T08:00:00Z", "{text}");
        }
        assert_eq!(parse("2017-01-01").unwrap().to_string(), "2017-01-01T00:00:00Z");
        assert_eq!(parse("2017-01-01T08:00:00.123456Z").unwrap().to_string(), "2017-01-01T08:00:00.123456Z");
    }

    #[test]
    fn what_names_no_instant_is_refused() {
        for text in [
            "",
            "2017",
            "2017-01-01T08:00:00",
            "2017-01-01 08:00:00Z",
            "20170101T080000Z",
            "2017-01-01T",
            "2017-1-01",
            "2017-01-01T08:00:00+2",
            "2017-01-01T08:00:00+02:0",
            "2017-01-01T24:00:00Z",
            "1483257600",
            "٢٠17-01-01",
            "2017-01-01T08:00:60Z",
            "2017-01-01T08Z",
        ] {
            assert_eq!(parse(text), Err(SHAPE), "{text}");
        }
        for text in ["2017-02-29", "2017-02-29T08:00:00Z", "0000-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31"] {
            assert_eq!(parse(text), Err("is no instant of the calendar"), "{text}");
        }
    }
}
