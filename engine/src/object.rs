//! From an embedded object to loaded programs and maps: sizes, taken-over maps and frozen settings go in, descriptors
//! come out. The libbpf object itself is closed at once; descriptors keep alive what it made.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use libbpf_rs::btf::types::{DataSec, Var};
use libbpf_rs::btf::Btf;
use libbpf_rs::{AsRawLibbpf, ErrorExt, MapCore, ObjectBuilder, OpenObject, PrintLevel};

use crate::error::{Error, Result};
use crate::kernel::{self, MapShape};

/// What an object became.
#[derive(Debug)]
pub struct Loaded {
    /// Its only program.
    pub program: OwnedFd,
    /// Its maps by name, without those of its sections.
    pub maps: BTreeMap<String, OwnedFd>,
}

/// libbpf tells why a program was refused on one printer a process only.
static LIBBPF: Mutex<String> = Mutex::new(String::new());
static PRINTED: Mutex<String> = Mutex::new(String::new());
/// What is kept of it: the verifier's verdict stands last.
const PRINTED_MAX: usize = 4000;

/// An object that is open and not loaded.
pub struct Object {
    open: OpenObject,
    name: &'static str,
}

impl Object {
    /// Reads an embedded object.
    pub fn open(name: &'static str, bytes: &[u8]) -> Result<Self> {
        let open = quietly(|| {
            let mut builder = ObjectBuilder::default();
            builder.name(name).and_then(|builder| builder.open_memory(bytes))
        });
        let open = open.map_err(|error| Error::libbpf(format!("open the {name} program"), &error))?;
        Ok(Object { open, name })
    }

    /// The maps that it declares, by name, without those of its sections.
    pub fn map_shapes(&self) -> BTreeMap<String, MapShape> {
        let maps = self.open.maps().filter(|map| map.initial_value().is_none());
        maps.map(|map| {
            let shape = MapShape {
                map_type: map.map_type() as u32,
                key_bytes: map.key_size(),
                value_bytes: map.value_size(),
                entries: map.max_entries(),
                flags: map.map_flags(),
            };
            (map.name().to_string_lossy().into_owned(), shape)
        })
        .collect()
    }

    /// Gives a map that this object will make another size.
    pub fn set_entries(&mut self, map: &str, entries: u32) -> Result<()> {
        for mut open in self.open.maps_mut().filter(|open| open.name() == map) {
            open.set_max_entries(entries)
                .map_err(|error| Error::libbpf(format!("size the map {map}"), &error))?;
        }
        Ok(())
    }

    /// Uses a map that is there already instead of making one.
    pub fn reuse(&mut self, map: &str, fd: &OwnedFd) -> Result<()> {
        for mut open in self.open.maps_mut().filter(|open| open.name() == map) {
            let reused = open.reuse_fd(fd.as_fd());
            reused.map_err(|error| Error::libbpf(format!("take over the map {map}"), &error))?;
        }
        Ok(())
    }

    /// Gives a constant of the program its value; .rodata is frozen at load. Its place comes from the object's BTF.
    pub fn set_constant(&mut self, variable: &str, bytes: &[u8]) -> Result<()> {
        let absent =
            || Error::Misuse(format!("the {} program has no constant {variable} of that size", self.name));
        let (offset, size) = self.place_in_rodata(variable).ok_or_else(absent)?;
        for mut map in self.open.maps_mut() {
            if size != bytes.len() || !map.name().to_string_lossy().ends_with(".rodata") {
                continue;
            }
            let section = map.initial_value_mut().ok_or_else(absent)?;
            let field = section.get_mut(offset..offset + size).ok_or_else(absent)?;
            field.copy_from_slice(bytes);
            return Ok(());
        }
        Err(absent())
    }

    fn place_in_rodata(&self, variable: &str) -> Option<(usize, usize)> {
        // SAFETY: the object lives as long as self.
        let btf = Btf::from_bpf_object(unsafe { self.open.as_libbpf_object().as_ref() }).ok()??;
        let section: DataSec<'_> = btf.type_by_name(".rodata")?;
        let named = |id| {
            btf.type_by_id::<Var<'_>>(id).is_some_and(|var| var.name().is_some_and(|name| name == variable))
        };
        let found = section.iter().find(|member| named(member.ty));
        found.map(|member| (member.offset as usize, member.size))
    }

    /// Makes maps, loads the program.
    pub fn load(self) -> Result<Loaded> {
        let name = self.name;
        let sections: Vec<_> = self
            .open
            .maps()
            .filter(|map| map.initial_value().is_some())
            .map(|map| map.name().to_owned())
            .collect();
        let object = quietly(|| self.open.load()).map_err(|error| {
            let printed =
                std::mem::take(&mut *PRINTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
            Error::libbpf(format!("load the {name} program"), &error.with_context(|| printed))
        })?;
        let mut maps = BTreeMap::new();
        for map in object.maps().filter(|map| !sections.iter().any(|section| section == map.name())) {
            maps.insert(map.name().to_string_lossy().into_owned(), kernel::duplicate(map.as_fd())?);
        }
        let program = object.progs().next().ok_or_else(|| Error::Misuse(format!("{name} has no program")))?;
        Ok(Loaded { program: kernel::duplicate(program.as_fd())?, maps })
    }
}

/// Keeps what libbpf prints, for the message of an error, off standard error.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let _one = LIBBPF.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    PRINTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    let before = libbpf_rs::set_print(Some((PrintLevel::Warn, keep)));
    let done = work();
    libbpf_rs::set_print(before);
    done
}

fn keep(_level: PrintLevel, text: String) {
    let mut printed = PRINTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    printed.push_str(&text);
    let surplus = printed.len().saturating_sub(PRINTED_MAX);
    let cut = (surplus..=printed.len()).find(|at| printed.is_char_boundary(*at)).unwrap_or(0);
    printed.drain(..cut);
}
