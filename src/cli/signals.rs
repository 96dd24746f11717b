//! Signals: before anything is written they end the command at once; while an image is written they cancel it, and
//! the unfinished file is removed on the way out.

use crate::stream::Cancel;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What arrived, and whether it ends the command at once.
#[derive(Debug)]
pub(super) struct Signals {
    received: Vec<(u8, Arc<AtomicBool>)>,
    at_once: Arc<AtomicBool>,
}

/// SIGXFSZ on every Unix that has it: a file grew over `ulimit -f`. Caught, the write gives an error that names the
/// file instead of ending the process with nothing said.
#[cfg(unix)]
const SIGXFSZ: i32 = 25;

impl Signals {
    /// Takes over the signals that end a command.
    pub(super) fn install() -> Self {
        let at_once = Arc::new(AtomicBool::new(true));
        let mut received = Vec::new();
        for (signal, number) in [(SIGINT, 2_u8), (SIGTERM, 15)] {
            let flag = Arc::new(AtomicBool::new(false));
            // Registering fails only for signals that cannot be caught; without it the default action stands.
            let _ = signal_hook::flag::register_conditional_shutdown(signal, 128 + i32::from(number), Arc::clone(&at_once));
            let _ = signal_hook::flag::register(signal, Arc::clone(&flag));
            received.push((number, flag));
        }
        #[cfg(unix)]
        let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
        Self { received, at_once }
    }

    /// From here on signals cancel in good order instead of ending the process at once.
    pub(super) fn hold(&self) {
        self.at_once.store(false, Ordering::SeqCst);
    }

    /// A wish to stop that every signal makes from here on.
    pub(super) fn cancel(&self) -> Cancel {
        Cancel::when(self.received.iter().map(|(_, flag)| Arc::clone(flag)))
    }

    /// The number of the signal that arrived, if one did.
    pub(super) fn received(&self) -> Option<u8> {
        self.received.iter().find(|(_, flag)| flag.load(Ordering::SeqCst)).map(|(number, _)| *number)
    }
}
