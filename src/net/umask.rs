//! A stricter umask for a while, so that a new file is never open to more people than it should be.
//!
//! The umask is one for the whole process. Files that other threads make meanwhile get fewer rights,
//! too, but never more.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::sys::set_umask;

/// Ends with the umask of before.
#[derive(Debug)]
pub(super) struct StricterUmask {
    before: u32,
    _turn: MutexGuard<'static, ()>,
}

impl StricterUmask {
    /// Takes also these rights away from new files.
    pub(super) fn without(rights: u32) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);

        // To read the umask is to set it. The strictest one harms nobody.
        let before = set_umask(0o777);
        set_umask(before | rights);
        Self {
            before,
            _turn: turn,
        }
    }
}

impl Drop for StricterUmask {
    fn drop(&mut self) {
        set_umask(self.before);
    }
}
