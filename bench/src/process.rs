//! What the kernel tells of a process: the processor time it has used, and the memory that is its own.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Ticks a second in `/proc`: fixed on Linux for what user programs see.
const TICKS: u64 = 100;

/// The processor time of a process, of its children that have ended, and of those that have not.
///
/// # Errors
/// There is no such process.
pub fn cpu_of_family(id: u32) -> anyhow::Result<Duration> {
    let mut ticks = times(id).context("the process has ended")?.whole;
    for entry in fs::read_dir("/proc")?.flatten() {
        let child = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // One that ends meanwhile is counted with its parent next time.
        if let Some(times) = child.filter(|child| *child != id).and_then(times).filter(|times| times.parent == id) {
            ticks += times.whole;
        }
    }
    Ok(Duration::from_millis(ticks * 1_000 / TICKS))
}

struct Times {
    parent: u32,
    whole: u64,
}

fn times(id: u32) -> Option<Times> {
    read_times(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// The name of the program, in parentheses, may hold anything; what follows are numbers.
fn read_times(stat: &str) -> Option<Times> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    // utime, stime, and the same of children that were waited for.
    let whole = number(11)? + number(12)? + number(13)? + number(14)?;
    Some(Times { parent: fields.get(1)?.parse().ok()?, whole })
}

/// The proportional share of memory that a process uses, in KiB.
///
/// # Errors
/// There is no such process.
pub fn memory_of(id: u32) -> anyhow::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).context("the process has ended")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("the kernel tells no Pss")?;
    line.trim().trim_end_matches("kB").trim().parse().context("the kernel tells no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_whatever_the_program_is_called() {
        let times = read_times("7 (a) b (c)) S 3 7 7 0 -1 0 0 0 0 0 10 20 30 40 20 0 1 0 5 0 0").unwrap();
        assert_eq!((times.parent, times.whole), (3, 100));
        assert!(read_times("").is_none());
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let own = std::process::id();
        assert!(cpu_of_family(own).is_ok() && memory_of(own).unwrap() > 100);
    }
}
