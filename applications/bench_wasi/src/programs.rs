//! Programs.

use crate::calls::{show, time_stamp};
use crate::system::{
    I32Exit, MemoryInputPipe, MemoryOutputPipe, WasiCtxBuilder, WasiP1Ctx, add_to_linker_sync,
    give_directory, program,
};
use alloc::vec::Vec;
use wasm_engine::*;

/// What is run: a name, the program, its arguments, and how many bytes of text it reads.
struct Run {
    what: &'static str,
    program: &'static str,
    args: &'static [&'static str],
    input: usize,
}

const RUNS: &[Run] = &[
    Run {
        what: "SQLite: 20,000 rows inserted and selected",
        program: "sqlite3.wasm",
        args: &[
            "dir/a.db",
            "create table t(a integer primary key, b text, c real);
             insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
                select i, 'row number ' || i, i * 0.5 from n;
             select count(*), sum(length(b)), sum(c) from t where b like '%7%';
             select a, b, c from t order by b;",
        ],
        input: 0,
    },
    Run {
        what: "Lua: closures, tables, strings, numbers",
        program: "bench_lua.wasm",
        args: &[
            "-e",
            "local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
             print(fib(25))
             local words, seed = {}, 1
             for i = 1, 30000 do
                seed = (seed * 1103515245 + 12345) % 2147483648
                words[i] = string.format('%05d:%x', seed % 20000, i)
             end
             table.sort(words)
             local count, sum = {}, 0.0
             for _, word in ipairs(words) do
                local key = word:match('^(%d%d)')
                count[key] = (count[key] or 0) + 1
                sum = sum + math.sqrt(tonumber(word:sub(1, 5)))
             end
             for key = 0, 19 do io.write(string.format('%02d', key), ' ', count[string.format('%02d', key)], '\\n') end
             print(string.format('%.3f', sum), #table.concat(words, ','))
             local text = table.concat(words, ' '):gsub('%x+', function(hex) return #hex end):upper():rep(3)
             print(#text, select(2, text:gsub('5:', '')))",
        ],
        input: 0,
    },
    Run { what: "zstd: 4 MB compressed", program: "zstd.wasm", args: &["-3"], input: 4_000_000 },
];

/// A text of so many bytes that is about as regular as a language.
fn text(len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 16);
    let mut state: u32 = 1;
    while text.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let word = (state >> 16) * (state >> 16) / 65536 % 5000;
        for shift in [0, 4, 8, 12] {
            text.push(b'a' + (word >> shift & 15) as u8);
        }
        text.push(if state >> 28 == 0 { b'\n' } else { b' ' });
    }
    text.truncate(len);
    text
}

pub(crate) fn run() -> Result<()> {
    for Run { what, program: name, args, input } in RUNS {
        let engine = Engine::default();
        let module = Module::new(&engine, program(name)?)?;
        let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
        add_to_linker_sync(&mut linker, |ctx| ctx)?;
        let output = MemoryOutputPipe::new(64 << 20);
        let mut builder = WasiCtxBuilder::new();
        builder.arg(name).args(args).stdin(MemoryInputPipe::new(text(*input))).stdout(output.clone());
        give_directory(&mut builder)?;
        let mut store = Store::new(&engine, builder.build_p1());
        let start = time_stamp();
        let instance = linker.instantiate(&mut store, &module)?;
        let result = instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ());
        let stamps = time_stamp() - start;
        let status = match &result {
            Ok(()) => 0,
            Err(error) => error.downcast_ref::<I32Exit>().map_or(-1, |exit| exit.0),
        };
        if status != 0 {
            result?;
        }
        // The same work must have been done by all.
        let printed = output.contents();
        let sum = printed.iter().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
        show(what, stamps);
        crate::system::println!("{name} has printed {} bytes, {sum:08x}", printed.len());
    }
    Ok(())
}
