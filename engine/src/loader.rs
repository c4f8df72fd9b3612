//! Programs and maps of one gateway: load, take over, attach, pin, detach. Needs root.
//!
//! Taking over: what is pinned is opened and used on, links are given the new programs in one step each, so that the
//! wire is never without one. At every moment of attach() a kill leaves links that enforce and pins that the next start
//! can go on from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use libbpf_sys as sys;

use crate::abi::{self, direction, GuardValue, PrefixKey};
use crate::base::Capacity;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::hold_control::{self, HoldControl};
use crate::kernel::{self, Keyed, MapShape};
use crate::name_check;
use crate::name_tables;
use crate::object::Object;
use crate::pins::{self, Pins};
use crate::probe::{self, Hook, Probed};
use crate::settings::Settings;

/// Made anew at every load: what they hold belongs to the settings.
const NEVER_TAKEN_OVER: [&str; 2] = ["guard", "ports"];
/// Taken over together or not at all, since they speak of each other. Any other map stands alone.
const TOGETHER: [&[&str]; 3] = [
    &[
        "control",
        "base_front",
        "base_bitmaps",
        "base_observed",
        "base_v6_filter",
        "base_v6_buckets",
        "base_v6_slots",
        "base_meta",
        "name_filter",
        "name_meta",
    ],
    &["overlay_hosts", "overlay_prefixes", "green", "green_lines", "touch_v4", "touch_v6"],
    &["hold_control", "young_flows", "held_flows", "held_marks", "free_slots", "hold_slots", "overlay_names"],
];
/// The program on the TAPs, in the names of pins and links.
const HOLD: &str = "hold";

/// See the file's head.
#[derive(Debug)]
pub struct Loader {
    pins: Option<Pins>,
    /// In place of the embedded object: a test's own program with the same maps.
    tcx_object: Option<Vec<u8>>,
    loaded: Option<Loaded>,
    /// Links that nothing pins: they end with this.
    unpinned: BTreeMap<String, OwnedFd>,
}

#[derive(Debug)]
struct Loaded {
    /// None: opened from the pins, not loaded here.
    settings: Option<Settings>,
    capacity: Capacity,
    maps: BTreeMap<String, OwnedFd>,
    programs: BTreeMap<&'static str, OwnedFd>,
}

/// What attach() did to one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// A new link where none was.
    New,
    /// The pinned link goes on, with the new program.
    Updated,
    /// The pinned link had lost its port: a new link in its place.
    Replaced,
    /// The pinned link was on another port, or in another namespace: a new link in its place.
    Moved,
}

impl Attached {
    /// As Python says it.
    pub fn word(self) -> &'static str {
        match self {
            Attached::New => "attached",
            Attached::Updated => "updated",
            Attached::Replaced => "replaced",
            Attached::Moved => "moved",
        }
    }
}

impl Loader {
    /// Without a directory nothing is pinned, and nothing taken over.
    pub fn new(pin_directory: Option<&Path>, tcx_object: Option<Vec<u8>>) -> Result<Self> {
        let pins = pin_directory.map(Pins::new).transpose()?;
        Ok(Loader { pins, tcx_object, loaded: None, unpinned: BTreeMap::new() })
    }

    /// Loads beside what runs; nothing changes on the wire until attach(). Names of the maps made anew.
    pub fn load(&mut self, settings: Settings, capacity: Capacity, xdp: bool) -> Result<Vec<String>> {
        capacity.check()?;
        let guard = settings.guard_rows()?;
        let pinned = self.pins.as_ref().map(Pins::open_maps).transpose()?.unwrap_or_default();
        let mut settings = settings;
        settings.names_held |= !kernel::may_loop();
        let built_in = if settings.names_held { abi::TCX_HELD_OBJECT } else { abi::TCX_OBJECT };
        let mut tcx = Object::open("tcx", self.tcx_object.as_deref().unwrap_or(built_in))?;
        let shapes = tcx.map_shapes();
        let taken = taken_over(&shapes, &pinned, capacity)?;
        let capacity = actual_capacity(&taken, capacity)?;
        for (name, map) in &taken {
            tcx.reuse(name, map)?;
        }
        for name in shapes.keys().filter(|name| !taken.contains_key(*name)) {
            if let Some(elements) = growing(name, capacity) {
                tcx.set_entries(name, 2 * elements)?;
            }
        }
        let frozen = settings.for_programs(capacity);
        tcx.set_constant("settings", bytemuck::bytes_of(&frozen))?;
        let tcx = tcx.load()?;
        let mut maps = tcx.maps;
        let mut programs = BTreeMap::from([(Hook::Tcx.word(), tcx.program)]);
        let beside = [(HOLD, abi::HOLD_OBJECT, true), (Hook::Xdp.word(), abi::XDP_OBJECT, xdp)];
        for (word, bytes, _) in beside.into_iter().filter(|(.., wanted)| *wanted) {
            let mut object = Object::open(word, bytes)?;
            for (name, map) in &maps {
                object.reuse(name, map)?;
            }
            object.set_constant("settings", bytemuck::bytes_of(&frozen))?;
            let object = object.load()?;
            programs.insert(word, object.program);
            for (name, map) in object.maps {
                maps.entry(name).or_insert(map);
            }
        }
        let anew: Vec<String> = maps.keys().filter(|name| !taken.contains_key(*name)).cloned().collect();
        begin_control(&maps, pinned.get("control").filter(|_| !taken.contains_key("control")))?;
        if !taken.contains_key("hold_control") {
            hold_control::begin(&maps)?;
        }
        fill_guard(&maps, &guard)?;
        fill_ports(&maps, &settings)?;
        self.loaded = Some(Loaded { settings: Some(settings), capacity, maps, programs });
        Ok(anew)
    }

    /// The maps by name; of a Loader that did not load itself, the pinned ones.
    pub fn maps(&mut self) -> Result<&BTreeMap<String, OwnedFd>> {
        self.known().map(|known| &known.maps)
    }

    /// Names are held, not read, by what this Loader loaded.
    pub fn names_held(&self) -> bool {
        let settings = self.loaded.as_ref().and_then(|loaded| loaded.settings.as_ref());
        settings.is_some_and(|settings| settings.names_held)
    }

    /// Of the maps that are loaded, or pinned.
    pub fn capacity(&mut self) -> Result<Capacity> {
        self.known().map(|known| known.capacity)
    }

    /// Puts the programs on both ports and pins everything. What it did, by the names of links.
    pub fn attach(&mut self) -> Result<BTreeMap<String, Attached>> {
        let loaded = self.loaded.as_ref().filter(|loaded| !loaded.programs.is_empty());
        let settings = loaded.and_then(|loaded| loaded.settings.as_ref());
        let (Some(loaded), Some(settings)) = (loaded, settings) else {
            return Err(Error::Misuse("load() before attach()".to_owned()));
        };
        if let Some(pins) = &self.pins {
            pins.make()?;
        }
        if let Some(pins) = &self.pins {
            // Before any packet goes to a TAP from the new programs
            update_hold_links(pins, loaded)?;
        }
        let mut done = BTreeMap::new();
        for hook in [Hook::Tcx, Hook::Xdp] {
            let Some(program) = loaded.programs.get(hook.word()) else { continue };
            for (port, ifindex) in ports(settings) {
                let name = link_name(hook, port);
                let how = match &self.pins {
                    Some(pins) => attach_pinned(program, hook, ifindex, &pins.link(&name))?,
                    None => {
                        self.unpinned.insert(name.clone(), new_link(program, hook, ifindex)?);
                        Attached::New
                    }
                };
                done.insert(name, how);
            }
        }
        if let Some(pins) = &self.pins {
            pin_loaded(pins, loaded, settings)?;
        }
        Ok(done)
    }

    /// Puts the program of held packets on both TAPs, pins it, and tells the programs where packets wait: of that
    /// direction each. Can be repeated; what it did, by the names of links.
    pub fn attach_hold(&mut self, outbound: u32, inbound: u32) -> Result<BTreeMap<String, Attached>> {
        let loaded = self.loaded.as_ref();
        let (Some(loaded), Some(program)) = (loaded, loaded.and_then(|loaded| loaded.programs.get(HOLD)))
        else {
            return Err(Error::Misuse("load() before attach_hold()".to_owned()));
        };
        let mut done = BTreeMap::new();
        for (direction, ifindex) in [("outbound", outbound), ("inbound", inbound)] {
            let name = format!("{HOLD}-{direction}");
            let how = match &self.pins {
                Some(pins) => {
                    pins.make()?;
                    attach_pinned(program, Hook::Tcx, ifindex, &pins.link(&name))?
                }
                None => {
                    self.unpinned.insert(name.clone(), new_link(program, Hook::Tcx, ifindex)?);
                    Attached::New
                }
            };
            done.insert(name, how);
        }
        if let Some(pins) = &self.pins {
            kernel::pin(program.as_fd(), &pins.program(HOLD))?;
        }
        HoldControl::open(&loaded.maps)?.set_taps([outbound, inbound]);
        Ok(done)
    }

    /// One unmarked frame through the loaded program as if it had come in at the port of that direction: counted as a
    /// packet, held like one. For tests; what the program returned.
    pub fn run(&mut self, hook: Hook, direction: u32, frame: &[u8]) -> Result<u32> {
        let ifindex = self.port_of(hook, direction);
        probe::run(self.program(hook)?.as_fd(), hook, ifindex, frame)
    }

    /// As run() for each frame; what the reader of names said of it. Of a frame that it was not asked about: what it
    /// said of the one before.
    pub fn read_names(&mut self, direction: u32, frames: &[&[u8]]) -> Result<Vec<abi::NameWindow>> {
        let ifindex = self.port_of(Hook::Tcx, direction);
        let window = self.maps()?.get("name_window");
        let window = window.ok_or_else(|| Error::Misuse("no map name_window".to_owned()))?;
        let window = kernel::duplicate(window.as_fd())?;
        let program = self.program(Hook::Tcx)?.as_fd();
        probe::read_names(program, window.as_fd(), ifindex, frames)
    }

    /// The reader of names of the loaded program, to be held to the inspector's.
    pub fn check_names<T>(&mut self, check: impl FnOnce(name_check::Reader<'_>) -> Result<T>) -> Result<T> {
        let ifindex = self.port_of(Hook::Tcx, direction::OUTBOUND);
        let maps = self.maps()?;
        let meta = name_tables::live(maps)?;
        let window = maps.get("name_window");
        let window = window.ok_or_else(|| Error::Misuse("no map name_window".to_owned()))?;
        let window = kernel::duplicate(window.as_fd())?;
        let program = self.program(Hook::Tcx)?.as_fd();
        check(name_check::Reader { program, window: window.as_fd(), ifindex, meta })
    }

    fn port_of(&self, hook: Hook, direction: u32) -> u32 {
        let settings = self.loaded.as_ref().and_then(|loaded| loaded.settings.as_ref());
        settings.map_or(0, |settings| match (hook, direction) {
            (_, direction::OUTBOUND) => settings.inside_ifindex,
            (Hook::Tcx, _) => settings.outside_ifindex,
            // Any port but the inside one is outside; 0 is lo, which has what a test run with XDP asks of a port
            (Hook::Xdp, _) => 0,
        })
    }

    /// One marked frame through the loaded program; of a Loader that did not load itself, the pinned one.
    pub fn probe(&mut self, hook: Hook, direction: u32, frame: &[u8]) -> Result<Probed> {
        let nonce = Control::open(self.maps()?)?.probe_nonce();
        probe::probe(self.program(hook)?.as_fd(), hook, nonce, direction, frame)
    }

    /// Many of them. `directions`: one byte each.
    pub fn probe_many(&mut self, hook: Hook, directions: &[u8], frames: &[&[u8]]) -> Result<Vec<Probed>> {
        if directions.len() != frames.len() {
            return Err(Error::Misuse(format!(
                "{} directions for {} frames",
                directions.len(),
                frames.len()
            )));
        }
        let nonce = Control::open(self.maps()?)?.probe_nonce();
        let program = self.program(hook)?.as_fd();
        let each = directions.iter().zip(frames);
        each.map(|(direction, frame)| probe::probe(program, hook, nonce, (*direction).into(), frame))
            .collect()
    }

    /// Mean run time of one packet that comes in at the port of that direction, counted as a packet.
    pub fn cost_ns(&mut self, hook: Hook, direction: u32, frame: &[u8], repeat: u32) -> Result<u32> {
        let ifindex = self.port_of(hook, direction);
        probe::cost_ns(self.program(hook)?.as_fd(), hook, ifindex, frame, repeat)
    }

    fn program(&mut self, hook: Hook) -> Result<&OwnedFd> {
        let pinned = self.pins.as_ref().map(|pins| pins.program(hook.word()));
        let known = self.known()?;
        if !known.programs.contains_key(hook.word()) {
            let absent = || Error::Misuse(format!("no {} program is loaded", hook.word()));
            let program = kernel::open_pin(&pinned.ok_or_else(absent)?)?.ok_or_else(absent)?;
            known.programs.insert(hook.word(), program);
        }
        known.programs.get(hook.word()).ok_or_else(|| Error::Misuse("no such program".to_owned()))
    }

    /// What is loaded, else what is pinned.
    fn known(&mut self) -> Result<&mut Loaded> {
        if self.loaded.is_none() {
            let pins = self.pins.as_ref().ok_or_else(|| Error::Misuse("nothing is loaded".to_owned()))?;
            let maps = pins.open_maps()?;
            if !maps.contains_key("control") {
                return Err(Error::Misuse(
                    "nothing is loaded, and no maps of this version are pinned".to_owned(),
                ));
            }
            let capacity = actual_capacity(&maps, Capacity::LEAST)?;
            let programs = BTreeMap::new();
            self.loaded = Some(Loaded { settings: None, capacity, maps, programs });
        }
        self.loaded.as_mut().ok_or_else(|| Error::Misuse("nothing is loaded".to_owned()))
    }

    /// Keeps the maps' descriptors only.
    pub fn close_programs(&mut self) {
        if let Some(loaded) = &mut self.loaded {
            loaded.programs.clear();
        }
        self.unpinned.clear();
    }

    /// Each link and the ifindex it is on; 0: its port is gone.
    pub fn links(&self) -> Result<BTreeMap<String, u32>> {
        let opened = self.pins.as_ref().map(Pins::open_links).transpose()?.unwrap_or_default();
        let all = opened.iter().chain(&self.unpinned);
        all.map(|(name, link)| Ok((name.clone(), kernel::link_info(link.as_fd())?.ifindex))).collect()
    }

    /// Takes the links off, then every pin. Names of the links that were on a port.
    pub fn detach(&mut self) -> Result<Vec<String>> {
        let links = self.links()?;
        let on_a_port =
            links.into_iter().filter(|(_, ifindex)| *ifindex != 0).map(|(name, _)| name).collect();
        if let Some(pins) = &self.pins {
            for name in pins.open_links()?.keys() {
                take_off(&pins.link(name))?;
            }
            pins.remove()?;
        }
        self.close_programs();
        self.loaded = None;
        Ok(on_a_port)
    }
}

/// Programs and maps, once every link runs them; what an earlier load had and this one has not goes.
fn pin_loaded(pins: &Pins, loaded: &Loaded, settings: &Settings) -> Result<()> {
    for hook in [Hook::Tcx, Hook::Xdp] {
        match loaded.programs.get(hook.word()) {
            Some(program) => kernel::pin(program.as_fd(), &pins.program(hook.word()))?,
            None => pins::remove(&pins.program(hook.word()))?,
        }
    }
    if let Some(program) = loaded.programs.get(HOLD) {
        kernel::pin(program.as_fd(), &pins.program(HOLD))?;
    }
    pins.pin_maps(&loaded.maps)?;
    if !loaded.programs.contains_key(Hook::Xdp.word()) {
        for (port, _) in ports(settings) {
            take_off(&pins.link(&link_name(Hook::Xdp, port)))?;
        }
    }
    Ok(())
}

/// Puts the new program behind the links on TAPs that are pinned.
fn update_hold_links(pins: &Pins, loaded: &Loaded) -> Result<()> {
    let Some(program) = loaded.programs.get(HOLD) else { return Ok(()) };
    for direction in ["outbound", "inbound"] {
        let Some(link) = kernel::open_pin(&pins.link(&format!("{HOLD}-{direction}")))? else { continue };
        if kernel::link_info(link.as_fd())?.ifindex != 0 {
            kernel::link_update(link.as_fd(), program.as_fd())?;
        }
    }
    Ok(())
}

fn link_name(hook: Hook, port: &str) -> String {
    format!("{}-{port}", hook.word())
}

fn ports(settings: &Settings) -> [(&'static str, u32); 2] {
    [("inside", settings.inside_ifindex), ("outside", settings.outside_ifindex)]
}

fn new_link(program: &OwnedFd, hook: Hook, ifindex: u32) -> Result<OwnedFd> {
    let kind = match hook {
        Hook::Tcx => sys::BPF_TCX_INGRESS,
        Hook::Xdp => sys::BPF_XDP,
    };
    kernel::link_create(program.as_fd(), ifindex, kind)
}

/// Updates the link that is pinned there, if it is on this port; else pins a new one in its place.
fn attach_pinned(program: &OwnedFd, hook: Hook, ifindex: u32, pin: &Path) -> Result<Attached> {
    let how = match kernel::open_pin(pin)? {
        None => Attached::New,
        Some(link) => {
            let info = kernel::link_info(link.as_fd())?;
            if info.ifindex == 0 {
                Attached::Replaced
            } else if info.ifindex == ifindex && is_here(hook, &info)? {
                kernel::link_update(link.as_fd(), program.as_fd())?;
                return Ok(Attached::Updated);
            } else {
                // An XDP port takes one link only, and the old port is none of ours any more
                kernel::link_detach(link.as_fd())?;
                Attached::Moved
            }
        }
    };
    let link = new_link(program, hook, ifindex)?;
    kernel::pin(link.as_fd(), pin)?;
    Ok(how)
}

/// Ifindexes are a namespace's own: the same number may be another port in another one.
fn is_here(hook: Hook, info: &kernel::LinkInfo) -> Result<bool> {
    match hook {
        Hook::Tcx => Ok(kernel::tcx_link_ids(info.ifindex)?.contains(&info.id)),
        Hook::Xdp => Ok(kernel::xdp_program_id(info.ifindex)? == info.program_id),
    }
}

/// Detaches what is pinned there, then takes the pin away.
fn take_off(pin: &Path) -> Result<()> {
    if let Some(link) = kernel::open_pin(pin)? {
        kernel::link_detach(link.as_fd())?;
    }
    pins::remove(pin)
}

/// Elements a copy of the maps that grow.
fn growing(map: &str, capacity: Capacity) -> Option<u32> {
    match map {
        "base_bitmaps" => Some(capacity.bitmaps),
        "base_v6_buckets" => Some(capacity.v6_buckets),
        "base_v6_slots" => Some(capacity.v6_slots),
        "name_filter" => Some(capacity.name_words),
        "base_observed" => Some(capacity.observed),
        _ => None,
    }
}

/// Of the pinned maps those that this object's programs can use.
fn taken_over(
    shapes: &BTreeMap<String, MapShape>,
    pinned: &BTreeMap<String, OwnedFd>,
    capacity: Capacity,
) -> Result<BTreeMap<String, OwnedFd>> {
    let mut fitting = BTreeMap::new();
    for (name, wanted) in shapes {
        let Some(map) = pinned.get(name).filter(|_| !NEVER_TAKEN_OVER.contains(&name.as_str())) else {
            continue;
        };
        let held = kernel::map_shape(map.as_fd())?;
        let entries_fit = match growing(name, capacity) {
            Some(elements) => held.entries >= 2 * elements,
            None => held.entries == wanted.entries,
        };
        if entries_fit && held == (MapShape { entries: held.entries, ..*wanted }) {
            fitting.insert(name.clone(), kernel::duplicate(map.as_fd())?);
        }
    }
    for together in TOGETHER {
        if !together.iter().all(|name| fitting.contains_key(*name)) {
            fitting.retain(|name, _| !together.contains(&name.as_str()));
        }
    }
    Ok(fitting)
}

/// What the maps that are taken over hold; the wanted one where they are made anew.
fn actual_capacity(taken: &BTreeMap<String, OwnedFd>, wanted: Capacity) -> Result<Capacity> {
    let elements = |name: &str, wanted: u32| match taken.get(name) {
        Some(map) => kernel::map_shape(map.as_fd()).map(|shape| shape.entries / 2),
        None => Ok(wanted),
    };
    Ok(Capacity {
        bitmaps: elements("base_bitmaps", wanted.bitmaps)?,
        v6_buckets: elements("base_v6_buckets", wanted.v6_buckets)?,
        v6_slots: elements("base_v6_slots", wanted.v6_slots)?,
        name_words: elements("name_filter", wanted.name_words)?,
        observed: elements("base_observed", wanted.observed)?,
    })
}

/// A control made anew goes on where the old one stands: epochs keep their meaning, a bypass its deadline.
fn begin_control(maps: &BTreeMap<String, OwnedFd>, old: Option<&OwnedFd>) -> Result<()> {
    let control = Control::open(maps)?;
    if let Some(old) = old {
        if let Ok(old) = Control::open_older(old.as_fd()) {
            control.set_epoch(old.epoch());
            control.set_bypass_until_ns(old.bypass_until_ns());
            control.beat(old.heartbeat_ns());
            control.set_probe_nonce(old.probe_nonce());
            control.set_names_active(old.names_active());
        }
    }
    if control.probe_nonce() == 0 {
        control.set_probe_nonce(random_nonce()?);
    }
    Ok(())
}

fn random_nonce() -> Result<u32> {
    let mut bytes = [0; 4];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    read.map_err(|error| Error::kernel("give a random number", error))?;
    Ok(u32::from_ne_bytes(bytes).max(1))
}

fn fill_guard(maps: &BTreeMap<String, OwnedFd>, rows: &[(PrefixKey, GuardValue)]) -> Result<()> {
    let map = maps.get("guard").ok_or_else(|| Error::Misuse("the programs have no map guard".to_owned()))?;
    let guard = Keyed::new(kernel::duplicate(map.as_fd())?, "guard")?;
    rows.iter().try_for_each(|(key, value)| guard.put(key, value))
}

/// Where the XDP program redirects to. Without xdp_forward it never does.
fn fill_ports(maps: &BTreeMap<String, OwnedFd>, settings: &Settings) -> Result<()> {
    let Some(map) = maps.get("ports").filter(|_| settings.xdp_forward) else { return Ok(()) };
    let ports = Keyed::new(kernel::duplicate(map.as_fd())?, "ports")?;
    ports.put(&direction::OUTBOUND, &settings.outside_ifindex)?;
    ports.put(&direction::INBOUND, &settings.inside_ifindex)
}
