//! BTF → Rust: closed lists as constants and tables of names, structs as `repr(C)` with their size and offsets
//! asserted. Nobody retypes bpf/abi.h.

use std::fmt::Write;
use std::path::Path;

use libbpf_rs::btf::types::{Array, Enum, Int, MemberAttr, Struct};
use libbpf_rs::btf::{Btf, BtfKind, BtfType};
use libbpf_rs::HasSize;

/// Of the kernel's own structs only places are needed: they have unions and bit fields.
const CONTEXT: (&str, &[&str]) = ("__sk_buff", &["mark", "cb", "ifindex"]);

pub fn generate(object: &Path) -> Result<String, String> {
    let btf = Btf::from_path(object).map_err(|error| format!("{}: no BTF: {error}", object.display()))?;
    let mut rust = String::new();
    for list in btf.type_by_kind::<Enum<'_>>() {
        closed_list(&mut rust, &list)?;
    }
    for structure in btf.type_by_kind::<Struct<'_>>() {
        let name = text(structure.name())?;
        if name == CONTEXT.0 {
            places(&mut rust, &structure)?;
        } else if name != "bpf_flow_keys" && name != "bpf_sock" {
            mirror(&mut rust, &btf, &structure)?;
        }
    }
    Ok(rust)
}

/// `pub mod drop_reason { pub const FORWARDED: u32 = 0; … pub const NAMES: … }`
fn closed_list(rust: &mut String, list: &Enum<'_>) -> Result<(), String> {
    let name = text(list.name())?;
    let members = list
        .iter()
        .map(|member| Ok((text(member.name)?, member.value)))
        .collect::<Result<Vec<_>, String>>()?;
    let prefix = common_prefix(&members);
    let mut table = String::new();
    writeln!(rust, "/// enum {name}\npub mod {name} {{").map_err(fmt)?;
    for (member, value) in &members {
        let short = &member[prefix..];
        writeln!(rust, "    /// {member}\n    pub const {short}: u32 = {value};").map_err(fmt)?;
        write!(table, "(\"{short}\", {value}), ").map_err(fmt)?;
    }
    writeln!(
        rust,
        "    /// Every member.\n    pub const NAMES: &[(&str, u32)] = &[{}];\n}}\n",
        table.trim_end_matches(", ")
    )
    .map_err(fmt)
}

/// Bytes of the words that all names begin with: DROP_ of enum drop_reason, nothing of enum limit.
fn common_prefix(members: &[(String, i64)]) -> usize {
    let Some((first, _)) = members.first() else { return 0 };
    let ends = first.match_indices('_').map(|(at, _)| at + 1);
    ends.filter(|end| members.iter().all(|(name, _)| name.starts_with(&first[..*end]))).max().unwrap_or(0)
}

fn places(rust: &mut String, structure: &Struct<'_>) -> Result<(), String> {
    let upper = CONTEXT.0.trim_start_matches('_').to_uppercase();
    writeln!(
        rust,
        "/// Bytes of struct {}.\npub const {upper}_SIZE: usize = {};",
        CONTEXT.0,
        structure.size()
    )
    .map_err(fmt)?;
    for member in structure.iter() {
        let Some(name) = member.name.map(|name| name.to_string_lossy().into_owned()) else { continue };
        if CONTEXT.1.contains(&name.as_str()) {
            let at = offset(member.attr)?;
            writeln!(rust, "/// Its {name}.\npub const {upper}_{}: usize = {at};", name.to_uppercase())
                .map_err(fmt)?;
        }
    }
    Ok(())
}

fn mirror(rust: &mut String, btf: &Btf<'_>, structure: &Struct<'_>) -> Result<(), String> {
    let name = text(structure.name())?;
    let rust_name = camel(&name);
    let (mut fields, mut asserts, mut end) = (String::new(), String::new(), 0);
    for member in structure.iter() {
        let field = text(member.name)?;
        let at = offset(member.attr)?;
        let member_type: BtfType<'_> = btf.type_by_id(member.ty).ok_or("a member without a type")?;
        let (spelling, size) = spell(member_type)?;
        if at != end {
            return Err(format!("struct {name} has a hole before {field}: name the padding"));
        }
        end = at + size;
        writeln!(fields, "    /// {field}\n    pub {field}: {spelling},").map_err(fmt)?;
        writeln!(asserts, "    assert!(::std::mem::offset_of!({rust_name}, {field}) == {at});")
            .map_err(fmt)?;
    }
    if end != structure.size() {
        return Err(format!("struct {name} has a hole at its end: name the padding"));
    }
    writeln!(
        rust,
        "/// struct {name}\n#[repr(C)]\n#[derive(Clone, Copy, Debug, PartialEq, Eq)]\npub struct {rust_name} {{\n\
         {fields}}}\n\
         const _: () = {{\n    assert!(::std::mem::size_of::<{rust_name}>() == {end});\n{asserts}}};\n\
         // SAFETY: integers and arrays of them without a hole; the build script and the lines above have checked it.\n\
         unsafe impl ::bytemuck::Zeroable for {rust_name} {{}}\n\
         // SAFETY: as above.\n\
         unsafe impl ::bytemuck::Pod for {rust_name} {{}}\n"
    )
    .map_err(fmt)
}

/// Rust's spelling of a type, and its size.
fn spell(found: BtfType<'_>) -> Result<(String, usize), String> {
    let real = found.skip_mods_and_typedefs();
    match real.kind() {
        BtfKind::Int => {
            let int = Int::try_from(real).map_err(|_| "an int that is none")?;
            Ok((format!("u{}", int.bits), usize::from(int.bits) / 8))
        }
        BtfKind::Array => {
            let array = Array::try_from(real).map_err(|_| "an array that is none")?;
            let (element, size) = spell(array.contained_type())?;
            Ok((format!("[{element}; {}]", array.capacity()), size * array.capacity()))
        }
        BtfKind::Struct => {
            let inner = Struct::try_from(real).map_err(|_| "a struct that is none")?;
            Ok((camel(&text(inner.name())?), inner.size()))
        }
        other => Err(format!("abi.h uses a {other:?}, which has no mirror in Rust")),
    }
}

fn offset(place: MemberAttr) -> Result<usize, String> {
    match place {
        MemberAttr::Normal { offset } => Ok(offset as usize / 8),
        MemberAttr::BitField { .. } => Err("abi.h has a bit field".to_owned()),
    }
}

fn camel(name: &str) -> String {
    let words = name.split('_');
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

fn text(name: Option<&std::ffi::OsStr>) -> Result<String, String> {
    let name = name.ok_or("abi.h has something without a name")?;
    name.to_str().map(str::to_owned).ok_or_else(|| "a name that is not UTF-8".to_owned())
}

fn fmt(error: std::fmt::Error) -> String {
    error.to_string()
}
