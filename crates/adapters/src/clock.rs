//! The time of the machine, in the deployment's zone. The one place that reads the wall clock.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use custodia_domain::ports::Clock;
use custodia_domain::{Date, Moment, Timestamp};
use jiff::tz::{Offset, TimeZone};
use thiserror::Error;

/// The name of a zone that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be UTC, an offset such as +02:00, or a zone of the IANA database such as Europe/Warsaw")]
pub struct UnknownZone;

/// The machine's clock. Its zone decides which calendar date an instant belongs to, and nothing else.
#[derive(Debug, Clone)]
pub struct SystemClock {
    zone: TimeZone,
}

impl SystemClock {
    /// The clock in UTC.
    #[must_use]
    pub fn utc() -> Self {
        Self { zone: TimeZone::UTC }
    }

    /// The clock in the zone of that name: `UTC`, an offset `+hh:mm` or `-hh:mm` of at most 14 hours, or a name of
    /// the IANA database, which is compiled in: the machine's own may be missing or old.
    ///
    /// # Errors
    /// [`UnknownZone`] for every other name.
    pub fn in_zone(name: &str) -> Result<Self, UnknownZone> {
        if name == "UTC" {
            return Ok(Self::utc());
        }
        if let Some(seconds) = offset_seconds(name) {
            let offset = Offset::from_seconds(seconds).map_err(|_| UnknownZone)?;
            return Ok(Self { zone: offset.to_time_zone() });
        }
        TimeZone::get(name).map(|zone| Self { zone }).map_err(|_| UnknownZone)
    }

    /// The moment of that instant in the clock's zone.
    ///
    /// # Panics
    /// When the machine's clock stands outside the years 1 to 9999.
    #[must_use]
    pub fn moment_of(&self, at: Timestamp) -> Moment {
        let instant = jiff::Timestamp::from_microsecond(at.microseconds()).expect("a timestamp is an instant of jiff");
        let date = self.zone.to_datetime(instant).date();
        let today = Date::from_ymd(date.year(), date.month().into(), date.day().into());
        Moment { at, today: today.expect("the clock stands in the years 1 to 9999") }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else has to ask")]
    fn now(&self) -> Moment {
        let now = jiff::Timestamp::now().as_microsecond();
        self.moment_of(Timestamp::from_microseconds(now).expect("the clock stands in the years 1 to 9999"))
    }
}

/// `+hh:mm` or `-hh:mm`, at most 14 hours, in seconds.
fn offset_seconds(name: &str) -> Option<i32> {
    let (sign, rest) = match name.as_bytes() {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let [h1, h2, b':', m1, m2] = rest else { return None };
    if ![h1, h2, m1, m2].into_iter().all(u8::is_ascii_digit) {
        return None;
    }
    let two = |tens: &u8, ones: &u8| i32::from(tens - b'0') * 10 + i32::from(ones - b'0');
    let (hours, minutes) = (two(h1, h2), two(m1, m2));
    let seconds = hours * 3600 + minutes * 60;
    (minutes < 60 && seconds <= 14 * 3600).then_some(sign * seconds)
}

/// A clock that stands still until it is told otherwise: for tests.
pub struct FixedClock {
    clock: SystemClock,
    at: Mutex<Timestamp>,
}

impl FixedClock {
    /// A clock in UTC that stands at that instant.
    #[must_use]
    pub fn at(at: Timestamp) -> Self {
        Self { clock: SystemClock::utc(), at: Mutex::new(at) }
    }

    /// Puts it to that instant.
    pub fn set(&self, at: Timestamp) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Moves it forwards.
    ///
    /// # Panics
    /// When that leads past the year 9999.
    pub fn advance(&self, by: Duration) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let microseconds = i64::try_from(by.as_micros()).expect("a step of a test is short");
        *at = Timestamp::from_microseconds(at.microseconds() + microseconds).expect("a test stays in its century");
    }
}

impl fmt::Debug for FixedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FixedClock").field(&self.now().at).finish()
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Moment {
        self.clock.moment_of(*self.at.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date_in(zone: &str, at: &str) -> String {
        SystemClock::in_zone(zone).unwrap().moment_of(Timestamp::parse(at).unwrap()).today.to_string()
    }

    #[test]
    fn the_zone_decides_which_date_an_instant_belongs_to() {
        for (zone, at, date) in [
            ("UTC", "2026-03-31T23:59:59.999999Z", "2026-03-31"),
            ("+14:00", "2026-03-31T10:00:00Z", "2026-04-01"),
            ("-00:30", "2026-03-31T00:29:59Z", "2026-03-30"),
            ("Asia/Kolkata", "2026-03-31T18:30:00Z", "2026-04-01"),
            ("Europe/Warsaw", "2026-07-31T22:00:00Z", "2026-08-01"),
            ("Europe/Warsaw", "2026-01-31T22:00:00Z", "2026-01-31"),
        ] {
            assert_eq!(date_in(zone, at), date, "{zone} {at}");
        }
    }

    #[test]
    fn a_zone_that_there_is_not_is_refused() {
        for name in ["", "Mars/Olympus", "+1:00", "+14:01", "+02:60", "+0200", "02:00", "../etc/passwd", "+aa:bb"] {
            assert_eq!(SystemClock::in_zone(name).err(), Some(UnknownZone), "{name:?}");
        }
    }

    #[test]
    fn the_machines_clock_is_read_to_the_microsecond_and_does_not_stand_still() {
        let clock = SystemClock::utc();
        let first = clock.now();
        assert_eq!(first.today, first.at.date_utc());
        assert!((0..1_000_000).any(|_| clock.now().at > first.at));
    }

    #[test]
    fn a_fixed_clock_moves_only_when_told() {
        let clock = FixedClock::at(Timestamp::parse("2026-12-31T23:59:59Z").unwrap());
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now().today.to_string(), "2027-01-01");
        clock.set(Timestamp::parse("2020-01-01T00:00:00Z").unwrap());
        assert_eq!(clock.now().today.to_string(), "2020-01-01");
    }
}
