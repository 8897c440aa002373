//! Where a cubin comes from: a bundle, the disk, or a compiler, in that order.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::RwLock;

use super::{Bundle, CubinKey, DiskCache, DiskCounters, StoredCubin};
use crate::behind::STORES;
use crate::compile::{CompileError, CompileOptions, Cubin, Nvrtc, compile};

/// The environment variable that moves the disk cache, or turns it off.
const VARIABLE: &str = "TILEWRIGHT_CACHE";

/// Where a cubin came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A bundle.
    Bundle,
    /// The disk cache.
    Disk,
    /// NVRTC compiled it now.
    Nvrtc,
    /// The GPU's driver compiled it now.
    Driver,
}

impl Origin {
    /// Whether it was compiled now.
    pub const fn is_compiled(self) -> bool {
        matches!(self, Self::Nvrtc | Self::Driver)
    }
}

/// What is asked for a cubin: bundles, then the disk cache, then NVRTC, whose cubins are kept on the disk.
///
/// One serves the whole process. Unless a program [installs](Self::install) another, it has no bundle and keeps cubins in
/// the user's cache folder, `$XDG_CACHE_HOME/tilewright` or `$HOME/.cache/tilewright`, up to
/// [256 MiB](DiskCache::DEFAULT_BYTES). The environment variable `TILEWRIGHT_CACHE` moves it to another folder, or
/// turns it off where it is `off` or `0`.
///
/// As long as all cubins are found, NVRTC is not loaded. Those of bundles need none at all; on the disk, those count that were
/// compiled by the NVRTC that is installed or, where none is, by any. Kernels that a device has used
/// are with the device, and not asked for again.
///
/// ```
/// use tilewright_runtime::cache::{CubinCache, DiskCache};
///
/// // Kernels that an image brought along, in a folder that nobody may write.
/// let shipped = DiskCache::at("/opt/model/kernels").read_only();
/// CubinCache::new().with_disk(shipped).install();
/// assert_eq!(CubinCache::current().counters().compiled, 0);
///
/// // No disk cache at all.
/// CubinCache::new().install();
/// assert!(CubinCache::current().disk().is_none());
/// ```
#[derive(Default)]
pub struct CubinCache {
    bundles: Vec<Bundle>,
    disk: Option<DiskCache>,
    bundle_hits: AtomicU64,
    bundle_damaged: AtomicU64,
    compiled: AtomicU64,
    told_damage: AtomicBool,
}

/// How often cubins came from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheCounters {
    /// Those found in a bundle.
    pub bundle_hits: u64,
    /// Those found in a bundle that are damaged, and were taken from elsewhere.
    pub bundle_damaged: u64,
    /// The disk cache; zeros if there is none.
    pub disk: DiskCounters,
    /// Those that were compiled.
    pub compiled: u64,
}

static CURRENT: RwLock<Option<Arc<CubinCache>>> = RwLock::new(None);

impl CubinCache {
    /// One that keeps nothing: every cubin is compiled.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the environment asks for: see the type.
    pub fn from_environment() -> Self {
        let value = std::env::var_os(VARIABLE).unwrap_or_default();
        match value.to_str() {
            Some("") => Self::new().with_disk(DiskCache::of_user()),
            Some("off" | "0") => Self::new(),
            _ => Self::new().with_disk(DiskCache::at(value)),
        }
    }

    /// With a disk cache, in place of another.
    pub fn with_disk(self, disk: DiskCache) -> Self {
        Self {
            disk: Some(disk),
            ..self
        }
    }

    /// With one bundle more; those given first are asked first.
    pub fn with_bundle(mut self, bundle: Bundle) -> Self {
        self.bundles.push(bundle);
        self
    }

    /// Makes this the one that serves the process from now on.
    pub fn install(self) -> Arc<Self> {
        let cache = Arc::new(self);
        *CURRENT.write() = Some(cache.clone());
        cache
    }

    /// The one that serves the process: what was installed last, or else what the environment asks for.
    pub fn current() -> Arc<Self> {
        if let Some(cache) = &*CURRENT.read() {
            return cache.clone();
        }
        let from_environment = || Arc::new(Self::from_environment());
        CURRENT.write().get_or_insert_with(from_environment).clone()
    }

    /// Waits until the disk caches of this process have stored all that was given to them. Returns false if that takes longer.
    pub fn settle(limit: Duration) -> bool {
        STORES.settle(limit)
    }

    /// The disk cache, if there is one.
    pub fn disk(&self) -> Option<&DiskCache> {
        self.disk.as_ref()
    }

    /// The bundles, in the order in which they are asked.
    pub fn bundles(&self) -> &[Bundle] {
        &self.bundles
    }

    /// How often cubins came from where. No lock is taken.
    pub fn counters(&self) -> CacheCounters {
        CacheCounters {
            bundle_hits: self.bundle_hits.load(Relaxed),
            bundle_damaged: self.bundle_damaged.load(Relaxed),
            disk: self.disk.as_ref().map(DiskCache::counters).unwrap_or_default(),
            compiled: self.compiled.load(Relaxed),
        }
    }

    /// The cubin of a source: found, or compiled as [`compile`] does it and kept. That it is on the disk is not waited for.
    ///
    /// # Errors
    /// It has to be compiled, and that fails. What goes wrong with files is no error.
    pub fn cubin(&self, source: &str, name: &str, options: &CompileOptions) -> Result<(Cubin, Origin), CompileError> {
        let (stored, origin) = self.stored(source, name, options)?;
        Ok((stored.cubin, origin))
    }

    pub(super) fn stored(
        &self,
        source: &str,
        name: &str,
        options: &CompileOptions,
    ) -> Result<(StoredCubin, Origin), CompileError> {
        let key = CubinKey::of(source, name, options);
        let expected = self.expected();
        if let Some(found) = self.found(&key, expected) {
            return Ok(found);
        }
        let compiler = match Nvrtc::load() {
            Ok(nvrtc) => nvrtc.identity(),
            // Where nothing can be compiled, what another compiler made does too.
            Err(error) => {
                let found = self.disk.as_ref().and_then(|disk| disk.get_of_any_compiler(&key));
                return found.map(|stored| (stored, Origin::Disk)).ok_or(error);
            }
        };
        // The one that looked right may not have been loadable.
        if expected != Some(compiler)
            && let Some(stored) = self.on_disk(&key, Some(compiler))
        {
            return Ok((stored, Origin::Disk));
        }
        let cubin = compile(source, name, options)?;
        Ok((self.keep(key, name, compiler, cubin), Origin::Nvrtc))
    }

    /// The cubin of a source, if one is found without compiling or loading anything.
    pub(crate) fn at_hand(&self, source: &str, name: &str, options: &CompileOptions) -> Option<(Cubin, Origin)> {
        let found = self.found(&CubinKey::of(source, name, options), self.expected());
        found.map(|(stored, origin)| (stored.cubin, origin))
    }

    /// Whose cubins on the disk count, as far as that is known without loading anything. If it finds none, loading says what is
    /// missing.
    fn expected(&self) -> Option<&'static str> {
        self.disk.as_ref().and_then(|_| Nvrtc::identity_at_hand().ok())
    }

    fn found(&self, key: &CubinKey, compiler: Option<&str>) -> Option<(StoredCubin, Origin)> {
        let bundled = self.in_bundles(key).map(|stored| (stored, Origin::Bundle));
        bundled.or_else(|| self.on_disk(key, compiler).map(|stored| (stored, Origin::Disk)))
    }

    /// The cubin of a key: found, or made by a driver and kept.
    ///
    /// # Errors
    /// It has to be made, and that fails.
    pub(crate) fn made<E>(
        &self,
        key: CubinKey,
        name: &str,
        driver: &str,
        make: impl FnOnce() -> Result<Cubin, E>,
    ) -> Result<(Cubin, Origin), E> {
        if let Some((stored, origin)) = self.found(&key, Some(driver)) {
            return Ok((stored.cubin, origin));
        }
        Ok((self.keep(key, name, driver, make()?).cubin, Origin::Driver))
    }

    /// Keeps what was compiled. That it is on the disk is not waited for.
    fn keep(&self, key: CubinKey, name: &str, compiler: &str, cubin: Cubin) -> StoredCubin {
        let stored = StoredCubin {
            key,
            compiler: compiler.to_owned(),
            name: name.to_owned(),
            cubin,
        };
        self.compiled.fetch_add(1, Relaxed);
        if let Some(disk) = &self.disk {
            disk.put_behind(stored.clone());
        }
        stored
    }

    fn on_disk(&self, key: &CubinKey, compiler: Option<&str>) -> Option<StoredCubin> {
        self.disk.as_ref()?.get(key, compiler?)
    }

    pub(super) fn in_bundles(&self, key: &CubinKey) -> Option<StoredCubin> {
        for bundle in &self.bundles {
            match bundle.get(key) {
                Ok(None) => {}
                Ok(stored) => {
                    self.bundle_hits.fetch_add(1, Relaxed);
                    return stored;
                }
                Err(error) => {
                    self.bundle_damaged.fetch_add(1, Relaxed);
                    match self.told_damage.swap(true, Relaxed) {
                        false => tracing::warn!(%key, %error, "a cubin of a bundle is not used"),
                        true => tracing::debug!(%key, %error, "a cubin of a bundle is not used"),
                    }
                }
            }
        }
        None
    }
}

impl fmt::Debug for CubinCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CubinCache")
            .field("bundles", &self.bundles)
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}
