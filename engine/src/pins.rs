//! Where a gateway's programs, links and maps are pinned, so that they outlive every process of it:
//!
//! ```text
//! DIR/maps-1/NAME               1 is ABI_VERSION: maps of another version are never taken over
//! DIR/programs/{tcx,xdp}
//! DIR/links/{tcx,xdp}-{inside,outside}
//! ```
//! DIR is on a bpffs. Folders are 0700, pins 0600: whoever may open them owns the wire.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::abi::limit::ABI_VERSION;
use crate::error::{Error, Result};
use crate::kernel;

/// statfs(2) of a bpffs.
const BPF_FS_MAGIC: libc::c_long = 0xcafe_4a11;

/// One gateway's folder.
#[derive(Clone, Debug)]
pub struct Pins {
    directory: PathBuf,
}

impl Pins {
    /// The folder need not exist; the next one above it that does must be on a bpffs.
    pub fn new(directory: &Path) -> Result<Self> {
        let above = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        if !is_bpffs(above)? {
            let why = "is on no bpffs: mount -t bpf bpf /sys/fs/bpf in the mount namespace of PID 1";
            return Err(Error::pins(directory, why));
        }
        Ok(Pins { directory: directory.to_owned() })
    }

    fn maps(&self) -> PathBuf {
        self.directory.join(format!("maps-{ABI_VERSION}"))
    }

    fn links(&self) -> PathBuf {
        self.directory.join("links")
    }

    /// Where a link is pinned.
    pub fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    /// Where a program is pinned.
    pub fn program(&self, hook: &str) -> PathBuf {
        self.directory.join("programs").join(hook)
    }

    /// The maps of this ABI version that are pinned.
    pub fn open_maps(&self) -> Result<BTreeMap<String, OwnedFd>> {
        open_all(&self.maps())
    }

    /// The links that are pinned.
    pub fn open_links(&self) -> Result<BTreeMap<String, OwnedFd>> {
        open_all(&self.links())
    }

    /// Makes the folders.
    pub fn make(&self) -> Result<()> {
        for path in [self.maps(), self.links(), self.directory.join("programs")] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|error| Error::pins(&path, format!("cannot be made: {error}")))?;
        }
        Ok(())
    }

    /// Pins exactly these maps; takes away others, those of other versions too.
    pub fn pin_maps(&self, maps: &BTreeMap<String, OwnedFd>) -> Result<()> {
        let folder = self.maps();
        for (name, map) in maps {
            kernel::pin(map.as_fd(), &folder.join(name))?;
        }
        for name in names(&folder)? {
            if !maps.contains_key(&name) {
                remove(&folder.join(name))?;
            }
        }
        for name in names(&self.directory)? {
            let path = self.directory.join(&name);
            if name.starts_with("maps-") && path != folder {
                remove_folder(&path)?;
            }
        }
        Ok(())
    }

    /// Takes every pin away. What only pins held ends with that.
    pub fn remove(&self) -> Result<()> {
        for name in names(&self.directory)? {
            remove_folder(&self.directory.join(name))?;
        }
        match fs::remove_dir(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::pins(&self.directory, format!("cannot be removed: {error}")))
            }
            _ => Ok(()),
        }
    }
}

/// Takes one pin away; it need not be there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::pins(path, format!("cannot be removed: {error}")))
        }
        _ => Ok(()),
    }
}

fn remove_folder(folder: &Path) -> Result<()> {
    for name in names(folder)? {
        remove(&folder.join(name))?;
    }
    fs::remove_dir(folder).map_err(|error| Error::pins(folder, format!("cannot be removed: {error}")))
}

/// What lies in a folder; nothing where there is none.
fn names(folder: &Path) -> Result<Vec<String>> {
    let unreadable = |error: io::Error| Error::pins(folder, format!("cannot be read: {error}"));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    entries.map(|entry| Ok(entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned())).collect()
}

fn open_all(folder: &Path) -> Result<BTreeMap<String, OwnedFd>> {
    let mut found = BTreeMap::new();
    for name in names(folder)? {
        // Left by a process that was killed between pinning and renaming
        if name.ends_with("-new") {
            continue;
        }
        if let Some(fd) = kernel::open_pin(&folder.join(&name))? {
            found.insert(name, fd);
        }
    }
    Ok(found)
}

fn is_bpffs(path: &Path) -> Result<bool> {
    let c = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::pins(path, "a path with a null byte"))?;
    let mut about = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: a C string, and memory of the size that statfs(2) writes.
    if unsafe { libc::statfs(c.as_ptr(), about.as_mut_ptr()) } != 0 {
        return Err(Error::pins(path, format!("cannot be looked at: {}", io::Error::last_os_error())));
    }
    // SAFETY: statfs(2) succeeded, so it has been written.
    Ok(unsafe { about.assume_init() }.f_type as libc::c_long == BPF_FS_MAGIC)
}
