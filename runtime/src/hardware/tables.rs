//! The tables of lists: where each tensor of a list is, and its extents and strides, as kernels read them.
//!
//! A table is in device memory. As an argument of a kernel it would need a fixed capacity, which 300 layers exceed on most
//! drivers, and so a variant for each capacity; every launch would carry all of it. In device memory one variant serves every
//! length, and the lists that an engine launches with are the same ones most of the time: a table is copied once, found again
//! by its content, and read by any stream. Nothing is waited for. Memory of the GPU and of the host is allocated only for a
//! content that is new. Lists that are known to be short when a kernel is compiled need no table: see
//! [`KernelArgument::Entries`](tilewright_dsl::lower::KernelArgument::Entries).

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

use super::cuda::{CudaDevice, CudaStream, CudaTable};
use crate::error::DeviceError;

/// How many words of tables are kept: 8 MiB. Then all are forgotten that no launch uses at the moment and no graph has
/// captured; a launch whose table is gone copies it again.
const MAX_WORDS: usize = 1 << 20;

/// The tables on one GPU.
#[derive(Default)]
pub(crate) struct Tables(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// A handle of the GPU whose stream copies tables and does nothing else.
    beside: Option<CudaDevice>,
    tables: HashMap<Arc<[u64]>, Arc<Table>, foldhash::fast::RandomState>,
    words: usize,
}

/// One table.
pub(crate) struct Table {
    /// Dropped by `drop` alone.
    table: ManuallyDrop<CudaTable>,
    /// The streams of launches that read it, but those that are lent.
    readers: Mutex<Vec<CudaStream>>,
    /// Whether a graph may read it, or nobody knows who does: then it lives as long as the device, as the graph's kernels do.
    captured: AtomicBool,
}

impl Tables {
    /// The table with these words, for a launch on `stream`, or for one in a graph, which any stream may launch. Whoever launches
    /// keeps it until the launch is in the stream.
    pub(crate) fn find(
        &self,
        cuda: &CudaDevice,
        words: &[u64],
        stream: Option<&CudaStream>,
    ) -> Result<Arc<Table>, DeviceError> {
        let table = {
            let mut kept = self.0.lock();
            match kept.tables.get(words) {
                Some(table) => table.clone(),
                None => kept.make(cuda, words)?,
            }
        };
        let Some(stream) = stream else {
            table.table.wait()?;
            table.captured.store(true, Relaxed);
            return Ok(table);
        };
        table.table.reach(stream)?;
        if stream.is_capturing()? {
            table.captured.store(true, Relaxed);
        }
        // Of a lent stream the table is told after each launch instead.
        if stream.is_lent() {
            return Ok(table);
        }
        let mut readers = table.readers.lock();
        if !readers.iter().any(|reader| reader.identity() == stream.identity()) {
            readers.push(stream.clone());
        }
        drop(readers);
        Ok(table)
    }
}

impl Kept {
    fn make(&mut self, cuda: &CudaDevice, words: &[u64]) -> Result<Arc<Table>, DeviceError> {
        if self.words + words.len() > MAX_WORDS {
            self.tables
                .retain(|_, table| Arc::strong_count(table) > 1 || !table.is_forgettable());
            self.words = self.tables.keys().map(|words| words.len()).sum();
        }
        let beside = match &self.beside {
            Some(beside) => beside,
            None => self.beside.insert(CudaTable::beside(cuda)?),
        };
        let words: Arc<[u64]> = words.into();
        let table = Arc::new(Table {
            table: ManuallyDrop::new(CudaTable::new(beside, words.clone())?),
            readers: Mutex::default(),
            captured: AtomicBool::new(false),
        });
        self.words += words.len();
        self.tables.insert(words, table.clone());
        Ok(table)
    }
}

impl Table {
    pub(crate) fn address(&self) -> u64 {
        self.table.address()
    }

    /// A launch that reads it is in a stream now. A lent one is waited for at once, as its owner may be done with it when the
    /// table is given back.
    pub(crate) fn is_read_by(&self, stream: &CudaStream) {
        if !stream.is_lent() || self.captured.load(Relaxed) {
            return;
        }
        if let Err(error) = self.table.outlive(stream) {
            // Whether the launch still reads it will never be known.
            self.captured.store(true, Relaxed);
            tracing::debug!(%error, "a table stays as long as its device");
        }
    }

    /// Whether its memory can be given back behind its readers: what a stream has been asked while it is captured is a
    /// graph's.
    fn is_forgettable(&self) -> bool {
        let captures = |reader: &CudaStream| reader.is_capturing().unwrap_or(true);
        !self.captured.load(Relaxed) && !self.readers.lock().iter().any(captures)
    }
}

impl Drop for Table {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        let after = |reader: &CudaStream| match reader.is_capturing()? {
            true => Err(DeviceError::Capturing {
                what: "giving a table back",
            }),
            false => self.table.outlive(reader),
        };
        match self.readers.lock().iter().try_for_each(after) {
            // SAFETY: the field is not used again. Its memory is freed behind every launch that reads it.
            Ok(()) => unsafe { ManuallyDrop::drop(&mut self.table) },
            Err(error) => tracing::debug!(%error, "the memory of a table was not freed"),
        }
    }
}
