//! Calendar dates and instants. Owns their exact text forms; must not know what day it is.

use std::fmt;

use thiserror::Error;

/// A calendar date without a zone, years 0001 to 9999 (RFC 3339 `full-date`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(jiff::civil::Date);

/// Why a text is not a [`Date`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DateError {
    /// The text has not the shape `YYYY-MM-DD`.
    #[error("must have the form YYYY-MM-DD")]
    Shape,
    /// The shape is right, but the calendar has no such day.
    #[error("is not a date of the calendar")]
    NoSuchDay,
}

/// The Gregorian calendar repeats after so many years, which have so many days.
const YEARS_OF_ERA: i32 = 400;
const DAYS_OF_ERA: i32 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_EPOCH: i32 = 719_468;
/// Microseconds from 0001-01-01T00:00:00Z to 1970-01-01T00:00:00Z.
const BEFORE_EPOCH: i64 = 719_162 * 86_400_000_000;

impl Date {
    /// Reads `YYYY-MM-DD` and nothing else.
    ///
    /// # Errors
    /// [`DateError`] names whether the shape or the day is wrong.
    pub fn parse(text: &str) -> Result<Self, DateError> {
        let bytes = text.as_bytes();
        let shaped = bytes.len() == 10
            && bytes.iter().enumerate().all(|(at, byte)| match at {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !shaped {
            return Err(DateError::Shape);
        }
        let number = |from: usize, to: usize| text[from..to].parse::<i16>().map_err(|_| DateError::Shape);
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        Self::from_ymd(year, month, day)
    }

    /// The date of that year, month (1 to 12) and day (1 to 31).
    ///
    /// # Errors
    /// [`DateError::NoSuchDay`] when the calendar has none, or the year is not 1 to 9999.
    pub fn from_ymd(year: i16, month: i16, day: i16) -> Result<Self, DateError> {
        let (Ok(month), Ok(day)) = (i8::try_from(month), i8::try_from(day)) else {
            return Err(DateError::NoSuchDay);
        };
        if year < 1 {
            return Err(DateError::NoSuchDay);
        }
        jiff::civil::Date::new(year, month, day).map(Self).map_err(|_| DateError::NoSuchDay)
    }

    /// Days since 1970-01-01, negative before it: how stores keep a date as an integer.
    #[must_use]
    pub fn days_since_epoch(self) -> i32 {
        let (year, month, day) = (i32::from(self.0.year()), i32::from(self.0.month()), i32::from(self.0.day()));
        // Years begin in March, so that a leap day is the last of its year.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let (era, of_era) = (year.div_euclid(YEARS_OF_ERA), year.rem_euclid(YEARS_OF_ERA));
        let of_year = (153 * month + 2) / 5 + day - 1;
        era * DAYS_OF_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - DAYS_BEFORE_EPOCH
    }

    /// The inverse of [`Date::days_since_epoch`].
    ///
    /// # Errors
    /// [`DateError::NoSuchDay`] outside the years 1 to 9999.
    pub fn from_days_since_epoch(days: i32) -> Result<Self, DateError> {
        let days = days.checked_add(DAYS_BEFORE_EPOCH).ok_or(DateError::NoSuchDay)?;
        let (era, of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        // Months are counted from March.
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
        let narrow = |number: i32| i16::try_from(number).map_err(|_| DateError::NoSuchDay);
        Self::from_ymd(narrow(year + era * YEARS_OF_ERA)?, narrow(month)?, narrow(day)?)
    }

    /// Year, month and day.
    #[must_use]
    pub fn ymd(self) -> (i16, i8, i8) {
        (self.0.year(), self.0.month(), self.0.day())
    }

    /// The first instant of that date in UTC.
    ///
    /// # Errors
    /// [`TimestampError::OutOfRange`] for the very last day of the year 9999, which a [`Timestamp`] does not reach.
    pub fn midnight_utc(self) -> Result<Timestamp, TimestampError> {
        Timestamp::from_microseconds(i64::from(self.days_since_epoch()) * 86_400_000_000)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.ymd();
        let digit = |number: i16| u8::try_from(number % 10).map_or(b'0', |digit| b'0' + digit);
        let (month, day) = (i16::from(month), i16::from(day));
        let text = [
            digit(year / 1_000),
            digit(year / 100),
            digit(year / 10),
            digit(year),
            b'-',
            digit(month / 10),
            digit(month),
            b'-',
            digit(day / 10),
            digit(day),
        ];
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// An instant, to the microsecond: the precision that every store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

/// Why a text or number is not a [`Timestamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TimestampError {
    /// The text has not the shape of RFC 3339 `date-time`.
    #[error("must be an RFC 3339 date-time such as 2026-05-22T09:30:00Z")]
    Shape,
    /// The shape is right, but there is no such instant, or it is outside the years 1 to 9999.
    #[error("is no instant of the calendar")]
    OutOfRange,
}

impl Timestamp {
    /// Reads an RFC 3339 `date-time` (`T` and `Z` in capitals, offsets accepted); digits past the microsecond
    /// are cut off.
    ///
    /// # Errors
    /// [`TimestampError`] names whether the shape or the instant is wrong.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        if !has_rfc3339_shape(text.as_bytes()) {
            return Err(TimestampError::Shape);
        }
        Date::parse(&text[..10]).map_err(|_| TimestampError::OutOfRange)?;
        let instant: jiff::Timestamp = text.parse().map_err(|_| TimestampError::OutOfRange)?;
        Self::from_microseconds(instant.as_microsecond())
    }

    /// The instant that many microseconds after 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// [`TimestampError::OutOfRange`] outside the years 1 to 9999.
    pub fn from_microseconds(microseconds: i64) -> Result<Self, TimestampError> {
        let instant = jiff::Timestamp::from_microsecond(microseconds).map_err(|_| TimestampError::OutOfRange)?;
        // The last instant there is lies in the year 9999.
        if microseconds >= -BEFORE_EPOCH { Ok(Self(instant)) } else { Err(TimestampError::OutOfRange) }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn microseconds(self) -> i64 {
        self.0.as_microsecond()
    }

    /// The instant that much later; the last one there is, where that is sooner.
    #[must_use]
    pub fn later_by(self, duration: std::time::Duration) -> Self {
        let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let last = jiff::Timestamp::MAX.as_second() * 1_000_000;
        let later = self.microseconds().saturating_add(microseconds).min(last);
        Self::from_microseconds(later).expect("between this instant and the last one is the calendar")
    }

    /// The calendar date at this instant in UTC.
    #[must_use]
    pub fn date_utc(self) -> Date {
        Date(self.0.to_zoned(jiff::tz::TimeZone::UTC).date())
    }
}

/// `YYYY-MM-DDThh:mm:ss[.f{1,9}](Z|±hh:mm)` with seconds 00 to 59: jiff itself accepts more, `:60` included.
fn has_rfc3339_shape(text: &[u8]) -> bool {
    let digits =
        |range: std::ops::Range<usize>| text.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let is = |at: usize, byte: u8| text.get(at) == Some(&byte);
    let clock = digits(0..4)
        && is(4, b'-')
        && digits(5..7)
        && is(7, b'-')
        && digits(8..10)
        && is(10, b'T')
        && digits(11..13)
        && is(13, b':')
        && digits(14..16)
        && is(16, b':')
        && digits(17..19)
        && text[11..13] < b"24"[..]
        && text[14] < b'6'
        && text[17] < b'6';
    if !clock {
        return false;
    }
    let mut rest = 19;
    if is(rest, b'.') {
        let fraction = text[rest + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&fraction) {
            return false;
        }
        rest += 1 + fraction;
    }
    match &text[rest..] {
        [b'Z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()) && [*h1, *h2] < *b"24" && *m1 < b'6'
        }
        _ => false,
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with the digits it needs: none, or up to six of a second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenient_forms_of_a_date_are_refused() {
        for text in
            ["20260228", "2026-2-28", "2026-02-28T10:00", " 2026-02-28", "2026-02-28 ", "+026-02-28", "２026-02-2"]
        {
            assert_eq!(Date::parse(text), Err(DateError::Shape), "{text}");
        }
        for text in ["2026-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "0000-01-01"] {
            assert_eq!(Date::parse(text), Err(DateError::NoSuchDay), "{text}");
        }
        assert_eq!(Date::parse("2024-02-29").unwrap().to_string(), "2024-02-29");
    }

    #[test]
    fn an_instant_is_kept_to_the_microsecond_and_leap_seconds_are_refused() {
        let instant = Timestamp::parse("2017-01-01T10:00:00.1234567+02:00").unwrap();
        assert_eq!(instant.to_string(), "2017-01-01T08:00:00.123456Z");
        for text in [
            "2016-12-31T23:59:60Z",
            "2017-01-01",
            "2017-01-01 08:00:00Z",
            "2017-01-01T08:00Z",
            "2017-01-01T08:00:00",
            "2017-01-01t08:00:00z",
            "2017-01-01T24:00:00Z",
        ] {
            assert_eq!(Timestamp::parse(text), Err(TimestampError::Shape), "{text}");
        }
        assert_eq!(Timestamp::parse("2017-02-30T08:00:00Z"), Err(TimestampError::OutOfRange));
    }

    #[test]
    fn later_is_never_past_the_end_of_the_calendar() {
        let instant = Timestamp::parse("2026-05-22T09:30:00Z").unwrap();
        let later = instant.later_by(std::time::Duration::from_millis(1_500));
        assert_eq!(later.to_string(), "2026-05-22T09:30:01.5Z");
        let last = instant.later_by(std::time::Duration::MAX);
        assert_eq!(last.later_by(std::time::Duration::from_secs(1)), last);
    }

    #[test]
    fn every_day_of_the_calendar_is_counted_and_shown() {
        let mut day = jiff::civil::Date::constant(1, 1, 1);
        for number in -719_162..=2_932_896 {
            let date = Date::from_days_since_epoch(number).unwrap();
            assert_eq!((date.0, date.days_since_epoch()), (day, number));
            if day.day() == 1 {
                assert_eq!(date.to_string(), day.to_string());
            }
            day = day.tomorrow().unwrap_or(day);
        }
    }

    #[test]
    fn days_since_the_epoch_go_there_and_back() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2026-11-21", 20_778),
            ("0001-01-01", -719_162),
            ("9999-12-31", 2_932_896),
        ] {
            let date = Date::parse(text).unwrap();
            assert_eq!(date.days_since_epoch(), days, "{text}");
            assert_eq!(Date::from_days_since_epoch(days), Ok(date));
            let midnight = date.midnight_utc().map(Timestamp::date_utc);
            assert!(midnight == Ok(date) || text == "9999-12-31", "{text}");
        }
        let first = Date::parse("0001-01-01").unwrap().midnight_utc().unwrap().microseconds();
        assert!(Timestamp::from_microseconds(first - 1).is_err());
        assert_eq!(Timestamp::from_microseconds(first).unwrap().to_string(), "0001-01-01T00:00:00Z");
        assert!(Date::from_days_since_epoch(2_932_897).is_err());
        assert!(Date::from_days_since_epoch(i32::MAX).is_err());
        assert!(Date::from_days_since_epoch(i32::MIN).is_err());
        assert!(Date::from_days_since_epoch(-719_163).is_err());
    }
}
