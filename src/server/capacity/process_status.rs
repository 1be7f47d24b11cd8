//! This process, as `/proc/self/limits` and `/proc/self/status` show it.

use super::kernel_files;

/// The texts of the two files, empty where there is no `/proc`.
#[derive(Debug, Default)]
pub(super) struct ProcessStatus {
    limits: String,
    status: String,
}

impl ProcessStatus {
    pub(super) fn read() -> Self {
        Self {
            limits: kernel_files::text("/proc/self/limits").unwrap_or_default(),
            status: kernel_files::text("/proc/self/status").unwrap_or_default(),
        }
    }

    #[cfg(test)]
    pub(super) fn of_texts(limits: &str, status: &str) -> Self {
        Self {
            limits: limits.to_owned(),
            status: status.to_owned(),
        }
    }

    /// Returns the soft limit of this name, or `None` if it is unlimited.
    pub(super) fn soft_limit(&self, name: &str) -> Option<u64> {
        let mut lines = self.limits.lines();
        let values = lines.find_map(|line| line.strip_prefix(name))?;

        values.split_whitespace().next()?.parse().ok()
    }

    /// Returns the number of bytes that the status says in kB.
    pub(super) fn bytes(&self, name: &str) -> Option<u64> {
        let kib: u64 = field(&self.status, name)?.parse().ok()?;

        Some(kib.saturating_mul(1024))
    }

    /// Returns the number of the user whom the process belongs to.
    pub(super) fn user(&self) -> Option<u64> {
        user_in(&self.status)
    }

    /// Returns true if the process has one of these capabilities, by their numbers.
    pub(super) fn has_one_of(&self, capabilities: &[u32]) -> bool {
        let effective = field(&self.status, "CapEff");
        let effective = effective.and_then(|digits| u64::from_str_radix(digits, 16).ok());

        effective.is_some_and(|bits| capabilities.iter().any(|number| bits >> number & 1 == 1))
    }
}

/// Returns the user and the number of threads of the process that has this status.
pub(super) fn user_and_threads(status: &str) -> Option<(u64, u64)> {
    let threads = field(status, "Threads")?.parse().ok()?;

    Some((user_in(status)?, threads))
}

/// Returns the real user, who comes first.
fn user_in(status: &str) -> Option<u64> {
    field(status, "Uid")?.parse().ok()
}

/// Returns the first word of a field.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(field, _)| *field == name)?;

    value.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max processes             60                   96365                processes 
Max open files            1024                 524288               files     
Max address space         167772160            unlimited            bytes     
";
    const STATUS: &str = "\
Name:\tUid: 5
Uid:\t1000\t0\t0\t0
VmSize:\t  139068 kB
VmData:\t    4684 kB
Threads:\t3
CapInh:\t0000000000000000
CapEff:\t0000000001000000
";

    #[test]
    fn soft_limits_are_found_by_name() {
        let process = ProcessStatus::of_texts(LIMITS, "");
        assert_eq!(process.soft_limit("Max open files"), Some(1024));
        assert_eq!(process.soft_limit("Max processes"), Some(60));
        assert_eq!(process.soft_limit("Max address space"), Some(167_772_160));
        assert_eq!(process.soft_limit("Max cpu time"), None);
        assert_eq!(process.soft_limit("Max stack size"), None);
        let none = ProcessStatus::default();
        assert_eq!(none.soft_limit("Max open files"), None);
    }

    #[test]
    fn the_status_has_sizes_a_user_and_capabilities() {
        let process = ProcessStatus::of_texts("", STATUS);
        assert_eq!(process.bytes("VmSize"), Some(139_068 * 1024));
        assert_eq!(process.bytes("VmSwap"), None);
        assert_eq!(process.user(), Some(1000));
        assert!(process.has_one_of(&[21, 24]));
        assert!(!process.has_one_of(&[21, 23]));
        assert!(!ProcessStatus::default().has_one_of(&[24]));

        assert_eq!(user_and_threads(STATUS), Some((1000, 3)));
        assert_eq!(user_and_threads("Uid:\t1000\n"), None);
    }
}
