//! Resident memory, as the kernel counts it.

use std::fs;

use crate::cpu::Watched;
use crate::report::Table;
use crate::takeover::Size;
use crate::{Error, Result};

/// Memory of all watched processes at one size of etcd.
#[derive(Clone, Debug)]
pub struct Memory {
    /// How much is in etcd.
    pub size: Size,
    /// Name and resident kibibytes.
    pub resident: Vec<(String, u64)>,
}

/// Reads it now.
///
/// # Errors
/// When a process is gone.
pub fn measure(size: Size, processes: &[Watched]) -> Result<Memory> {
    let read = |process: &Watched| -> Result<(String, u64)> {
        let path = format!("/proc/{}/status", process.pid);
        let text = fs::read_to_string(&path)
            .map_err(Error::call(format!("read {path} of {}", process.name)))?;
        let kib = resident_kib(&text)
            .ok_or_else(|| Error::Usage(format!("{path} does not say VmRSS")))?;
        Ok((process.name.clone(), kib))
    };
    let resident = processes.iter().map(read).collect::<Result<_>>()?;
    Ok(Memory { size, resident })
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// One line per process, one column per size.
#[must_use]
pub fn table(measured: &[Memory]) -> Table {
    let sizes: Vec<String> = measured
        .iter()
        .map(|one| format!("{} keys, {} infos", one.size.keys, one.size.infos))
        .collect();
    let mut columns = vec!["process"];
    columns.extend(sizes.iter().map(String::as_str));
    let mut table = Table::new("Resident memory (VmRSS), MiB, by keys in etcd", &columns);
    let names = measured
        .first()
        .into_iter()
        .flat_map(|one| &one.resident)
        .map(|(name, _)| name);
    for name in names {
        let cell = |one: &Memory| {
            let found = one.resident.iter().find(|(other, _)| other == name);
            found.map_or("-".to_owned(), |(_, kib)| mib(*kib))
        };
        let mut row = vec![name.clone()];
        row.extend(measured.iter().map(cell));
        table.row(row);
    }
    table.note("Read when every replica had folded all keys, before any takeover at that size. Nearly all keys that are no infos are subtasks of about 2 KB.");
    table
}

fn mib(kib: u64) -> String {
    let tenths = (kib * 10).div_ceil(1024);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_kernels_page() {
        assert_eq!(
            resident_kib("Name:\tx\nVmRSS:\t   1536 kB\nThreads:\t3\n"),
            Some(1536)
        );
        assert_eq!(resident_kib("Name:\tkthreadd\n"), None);
        assert_eq!(mib(1536), "1.5");
    }

    #[test]
    fn this_process_is_resident() {
        let me = Watched {
            name: "me".to_owned(),
            pid: std::process::id(),
        };
        let measured = measure(Size { keys: 7, infos: 3 }, &[me]).unwrap();
        assert!(measured.resident[0].1 > 500, "{measured:?}");
        assert!(table(&[measured]).to_string().contains("7 keys, 3 infos"));
    }
}
