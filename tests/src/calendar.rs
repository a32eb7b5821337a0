//! Dates as the wire writes them, counted from today.
//!
//! It owns the tests' own look at the calendar, in UTC like the service's default. It must not know any contract.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_A_DAY: u64 = 86_400;

/// The date so many days from today, `YYYY-MM-DD`; negative for days gone by.
///
/// # Panics
/// The clock of the machine is before 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a test has no clock but the machine's, as the service under it")]
pub fn day(from_today: i64) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let days = i64::try_from(since.as_secs() / SECONDS_A_DAY).expect("a count of days is small");
    date(days + from_today)
}

/// The Gregorian date so many days after 1970-01-01.
fn date(days: i64) -> String {
    // Counted in eras of 400 years that begin on the first of March, so that the leap day is a year's last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_leap_days_and_centuries() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(-1), "1969-12-31");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(11_017), "2000-03-01");
        assert_eq!(date(20_597), "2026-05-24");
    }
}
