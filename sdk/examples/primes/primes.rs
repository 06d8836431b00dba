//! primes: counts the primes below a number, sending each thousandth as an item.
//!
//! An example in Rust, without a crate: what `<sshexec/worker.h>` makes of a field list in C stands here written out, after ABI.md. A plugin is two exported
//! symbols, `run` and `ssx_plugin`, and a note that describes them; the note and the tables must say the same.

use std::ffi::{c_void, CString};
use std::mem::size_of;
use std::os::raw::{c_char, c_int};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::null;

// --- the ABI: the structs of <sshexec/worker.h>, as far as this worker needs them ---

#[repr(C)]
pub struct Call {
    host: *const Host,
}

#[repr(C)]
pub struct Host {
    size: usize,
    alloc: unsafe extern "C" fn(*mut Call, usize) -> *mut c_void,
    log: unsafe extern "C" fn(*mut Call, c_int, *const c_char),
    progress: unsafe extern "C" fn(*mut Call, u64, u64, *const c_char),
    item: unsafe extern "C" fn(*mut Call, *const Schema, *const c_void) -> c_int,
    item_any: unsafe extern "C" fn(*mut Call, *const c_void, usize) -> c_int,
    cancelled: unsafe extern "C" fn(*mut Call) -> bool,
    time_left_ms: unsafe extern "C" fn(*mut Call) -> i64,
    temp_dir: unsafe extern "C" fn(*mut Call) -> *const c_char,
    fail: unsafe extern "C" fn(*mut Call, c_int, *const c_char) -> c_int,
}

const KIND_UINT: u8 = 3;
const LOG_INFO: c_int = 1;

#[repr(C)]
struct Type {
    kind: u8,
    align: u8,
    reserved: u16,
    size: u32,
    lo: i64,
    hi: u64,
    flo: f64,
    fhi: f64,
    schema: *const c_void,
    names: *const c_void,
}

#[repr(C)]
struct Field {
    name: *const u8,
    name_length: u16,
    required: u8,
    reserved: u8,
    offset: u32,
    of: *const Type,
}

#[repr(C)]
pub struct Schema {
    name: *const u8,
    size: u32,
    count: u32,
    fields: *const Field,
    defaults: unsafe extern "C" fn(*mut c_void),
}

type SchemaFn = extern "C" fn() -> *const Schema;

#[repr(C)]
pub struct Plugin {
    abi_major: u16,
    abi_minor: u16,
    size: u32,
    name: *const u8,
    version: *const u8,
    traits: u64,
    state: SchemaFn,
    result: SchemaFn,
    selftest: *const c_void,
    item: SchemaFn,
}

#[repr(C, align(4))]
struct Note<const N: usize> {
    owner_size: u32,
    text_size: u32,
    kind: u32,
    owner: [u8; 8],
    text: [u8; N],
}

// They hold pointers to constants of this file and nothing that changes.
unsafe impl Sync for Type {}
unsafe impl Sync for Field {}
unsafe impl Sync for Schema {}
unsafe impl Sync for Plugin {}

const IDEMPOTENT: u64 = 1;

// --- what this worker takes and gives ---

#[repr(C)]
struct Primes {
    below: u64,
}

#[repr(C)]
struct PrimesResult {
    count: u64,
    largest: u64,
}

#[repr(C)]
struct Found {
    nth: u64,
    prime: u64,
}

const NOTE_TEXT: &[u8] = b"{\"struct\":\"primes\"}\0\
{\"field\":\"below\",\"type\":{\"u64\":[2,100000000]},\"default\":1000000,\"doc\":\"count the primes below this\"}\0\
{\"struct\":\"primes_result\"}\0\
{\"field\":\"count\",\"type\":\"u64\",\"required\":true,\"doc\":\"how many there are\"}\0\
{\"field\":\"largest\",\"type\":\"u64\",\"required\":true,\"doc\":\"the largest; 0: none\"}\0\
{\"struct\":\"found\"}\0\
{\"field\":\"nth\",\"type\":\"u64\",\"required\":true,\"doc\":\"its place among the primes, from 1\"}\0\
{\"field\":\"prime\",\"type\":\"u64\",\"required\":true,\"doc\":\"the prime\"}\0\
{\"worker\":\"primes\",\"version\":\"1.0\",\"abi\":[1,1],\"state\":\"primes\",\"result\":\"primes_result\",\"items\":\"found\",\
\"traits\":\"SSX_IDEMPOTENT\",\"doc\":\"counts primes\"}\0";

#[used]
#[link_section = ".note.sshexec"]
static NOTE: Note<{ NOTE_TEXT.len() }> =
    Note { owner_size: 8, text_size: NOTE_TEXT.len() as u32, kind: 1, owner: *b"sshexec\0", text: note_text() };

const fn note_text() -> [u8; NOTE_TEXT.len()] {
    let mut text = [0; NOTE_TEXT.len()];
    let mut i = 0;
    while i < text.len() {
        text[i] = NOTE_TEXT[i];
        i += 1;
    }
    text
}

const fn uint(lo: u64, hi: u64) -> Type {
    Type { kind: KIND_UINT, align: 8, reserved: 0, size: 8, lo: lo as i64, hi, flo: 0.0, fhi: 0.0, schema: null(), names: null() }
}

static BELOW: Type = uint(2, 100_000_000);
static ANY_UINT: Type = uint(0, u64::MAX);

/// `name` ends with a NUL, which doesn't count.
const fn field(name: &'static str, required: bool, offset: u32, of: &'static Type) -> Field {
    Field { name: name.as_ptr(), name_length: (name.len() - 1) as u16, required: required as u8, reserved: 0, offset, of }
}

static PRIMES_FIELDS: [Field; 1] = [field("below\0", false, 0, &BELOW)];
static RESULT_FIELDS: [Field; 2] = [field("count\0", true, 0, &ANY_UINT), field("largest\0", true, 8, &ANY_UINT)];
static FOUND_FIELDS: [Field; 2] = [field("nth\0", true, 0, &ANY_UINT), field("prime\0", true, 8, &ANY_UINT)];

static PRIMES: Schema =
    Schema { name: "primes\0".as_ptr(), size: size_of::<Primes>() as u32, count: 1, fields: PRIMES_FIELDS.as_ptr(), defaults: primes_defaults };
static RESULT: Schema = Schema {
    name: "primes_result\0".as_ptr(), size: size_of::<PrimesResult>() as u32, count: 2, fields: RESULT_FIELDS.as_ptr(), defaults: result_defaults,
};
static FOUND: Schema =
    Schema { name: "found\0".as_ptr(), size: size_of::<Found>() as u32, count: 2, fields: FOUND_FIELDS.as_ptr(), defaults: found_defaults };

unsafe extern "C" fn primes_defaults(at: *mut c_void) {
    at.cast::<Primes>().write(Primes { below: 1_000_000 });
}
unsafe extern "C" fn result_defaults(at: *mut c_void) {
    at.cast::<PrimesResult>().write(PrimesResult { count: 0, largest: 0 });
}
unsafe extern "C" fn found_defaults(at: *mut c_void) {
    at.cast::<Found>().write(Found { nth: 0, prime: 0 });
}

extern "C" fn primes() -> *const Schema {
    &PRIMES
}
extern "C" fn primes_result() -> *const Schema {
    &RESULT
}
extern "C" fn found() -> *const Schema {
    &FOUND
}

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static ssx_plugin: Plugin = Plugin {
    abi_major: 1,
    abi_minor: 1,
    size: size_of::<Plugin>() as u32,
    name: "primes\0".as_ptr(),
    version: "1.0\0".as_ptr(),
    traits: IDEMPOTENT,
    state: primes,
    result: primes_result,
    selftest: null(),
    item: found,
};

// --- the services, safe to call ---

fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

/// The call's context: lives as long as `run`.
struct Worker(*mut Call);

impl Worker {
    fn host(&self) -> &Host {
        unsafe { &*(*self.0).host }
    }
    fn cancelled(&self) -> bool {
        unsafe { (self.host().cancelled)(self.0) }
    }
    fn progress(&self, done: u64, total: u64) {
        unsafe { (self.host().progress)(self.0, done, total, b"\0".as_ptr().cast()) }
    }
    fn log(&self, level: c_int, message: &str) {
        unsafe { (self.host().log)(self.0, level, c_text(message).as_ptr()) }
    }
    fn item(&self, item: &Found) -> Result<(), String> {
        let rc = unsafe { (self.host().item)(self.0, &FOUND, (item as *const Found).cast()) };
        if rc == 0 { Ok(()) } else { Err("an item could not be sent".to_string()) }
    }
    fn fail(&self, code: i32, message: &str) -> i32 {
        unsafe { (self.host().fail)(self.0, code, c_text(message).as_ptr()) }
    }
}

// --- the worker ---

fn count_primes(worker: &Worker, state: &Primes, result: &mut PrimesResult) -> Result<(), String> {
    let below = state.below as usize;
    let mut composite = vec![false; below];
    for n in 2..below {
        if composite[n] {
            continue;
        }
        if worker.cancelled() {
            worker.log(LOG_INFO, &format!("cancelled at {n}"));
            return Err("cancelled".to_string());
        }
        worker.progress(n as u64, state.below);
        result.count += 1;
        result.largest = n as u64;
        if result.count % 1000 == 0 {
            worker.item(&Found { nth: result.count, prime: n as u64 })?;
        }
        for multiple in (n * n..below).step_by(n) {
            composite[multiple] = true;
        }
    }
    worker.progress(state.below, state.below);
    Ok(())
}

/// A panic must not leave `run`: its text is on stderr already.
#[no_mangle]
pub extern "C" fn run(call: *mut Call, state: *const c_void, result: *mut c_void) -> c_int {
    let worker = Worker(call);
    let (state, result) = unsafe { (&*state.cast::<Primes>(), &mut *result.cast::<PrimesResult>()) };
    match catch_unwind(AssertUnwindSafe(|| count_primes(&worker, state, result))) {
        Ok(Ok(())) => 0,
        Ok(Err(why)) => worker.fail(1, &why),
        Err(_) => worker.fail(1, "the worker panicked"),
    }
}
