# Builds, runs and tests the operating system. `make help` lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Where everything that is built goes.
TARGET ?= target
# Options of `make run`.
CMD   ?=
FILES ?=
SMP   ?= 2
MEM   ?= 1G
ACCEL ?= auto
DISK  ?=
SHARE ?=
# The directory with the developer's keys, as the tools know it.
KEYS  ?= $(or $(WASM_KEYS),$(or $(XDG_CONFIG_HOME),$(HOME)/.config)/wasm_run)
export WASM_KEYS := $(abspath $(KEYS))

# The cargo and rustc to use: rustup's when it can give rust-src, else Debian's. Known only after `setup`, hence per recipe.
CARGO = PATH="$$(scripts/setup --toolchain-path)$$PATH" cargo
# -Zbuild-std and the kernel's language features are nightly ones.
export RUSTC_BOOTSTRAP := 1
export CARGO_TARGET_DIR := $(abspath $(TARGET))

OUT         := $(CARGO_TARGET_DIR)/theseus
TOOLS       := $(CARGO_TARGET_DIR)/release
KERNEL_OUT  := $(CARGO_TARGET_DIR)/x86_64-theseus/kernel
NANO_CORE   := $(OUT)/nano_core.elf
ARCHIVE     := $(OUT)/theseus.cpio
ISO         := $(OUT)/theseus.iso
HOST_TOOLS  := run_qemu image_builder wasmc wasm_run wasm_suite

# No instance of a generic function shared between crates: what a crate needs is its own or named.
KERNEL_RUSTFLAGS := -Zshare-generics=n
KERNEL_CARGO     := --profile kernel -Zbuild-std=core,alloc,compiler_builtins \
                    -Zbuild-std-features=compiler-builtins-mem -Zjson-target-spec --target x86_64-theseus.json
# Applications find each other by name at run time, so nothing but this list makes cargo build them.
APPLICATIONS     := $(notdir $(patsubst %/,%,$(wildcard applications/*/)))
# Likewise crates that the kernel loads by name when they are needed.
KERNEL_EXTRA_PACKAGES := -p storage_manager -p wasm_compile -p wasm_dwarf -p wasm_wasi -p wasm_wast
KERNEL_PACKAGES  := -p nano_core -p captain $(KERNEL_EXTRA_PACKAGES) $(addprefix -p ,$(APPLICATIONS))

RUN_QEMU = $(TOOLS)/run_qemu --state $(OUT) --accel $(ACCEL) --smp $(SMP) --mem $(MEM)
BOOT     = $(RUN_QEMU) --kernel $(NANO_CORE) --archive $(ARCHIVE)

IMAGE_BUILDER = $(TOOLS)/image_builder --artifacts $(OUT)/artifacts.json --base $(NANO_CORE) \
	--base-lib $(KERNEL_OUT)/libnano_core.a --applications applications $(if $(FILES),--files '$(FILES)') \
	--trusted-keys $(WASM_KEYS)/trusted.keys \
	$(foreach guest,$(GUESTS),--extra $(OUT)/guests/$(guest).cwasm=guests/$(guest).cwasm \
		--extra guests/$(guest).wat=guests/$(guest).wat) \
	--extra $(OUT)/guests/hello.cwasm=hello.cwasm --extra guests/hello.wat=hello.wat --extra guests/spin.wat=spin.wat

.PHONY: help setup keys developer-keys guests build tools kernel image iso run test test-host test-kernel test-commands test-disk test-suite test-guests fuzz-wasi \
	test-iso compile-archive test-compile bench-compile bench-boot bench-sandbox bench-wasi clippy fmt fmt-check doc clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14
	@echo
	@echo "options:      CMD='line' FILES=dir DISK=file.img SHARE=dir SMP=$(SMP) MEM=$(MEM) ACCEL=auto|kvm|tcg TARGET=$(TARGET) KEYS=dir"

setup: ## install what is missing (rust-src; by apt: QEMU, GRUB, lld, …); quiet when nothing is
	@scripts/setup

tools: setup ## build the host's programs: wasmc, wasm_run, … (in target/release)
	@[ -e $(TOOLS)/wasmc ] || echo "building the host's programs: some minutes, the first time" >&2
	@$(CARGO) build --release --quiet --features wasm_run/compiler $(addprefix -p ,$(HOST_TOOLS))

keys: tools ## make the keys that sign .cwasm files, unless they are there (in ~/.config/wasm_run, or KEYS=dir)
	@$(TOOLS)/wasmc keys

developer-keys: tools
	@[ -e $(WASM_KEYS)/signing.key ] && [ -e $(WASM_KEYS)/trusted.keys ] || $(TOOLS)/wasmc keys >&2

kernel: setup
	@[ -e $(NANO_CORE) ] || echo "building the kernel: a minute, the first time" >&2
	@mkdir -p $(OUT)
	@export RUSTFLAGS="$(KERNEL_RUSTFLAGS)"; $(CARGO) build $(KERNEL_CARGO) $(KERNEL_PACKAGES) --quiet \
		--message-format=json-render-diagnostics > $(OUT)/artifacts.json
	@ld.lld -T kernel/nano_core/linker.ld --eh-frame-hdr --no-gc-sections -static -z max-page-size=4096 \
		--whole-archive $(KERNEL_OUT)/libnano_core.a -o $(NANO_CORE)

# The programs in every image: /guests/*.wat and, compiled, *.cwasm, and hello once more where the prompt begins.
GUESTS = $(patsubst guests/%.wat,%,$(wildcard guests/*.wat))

# The programs that lie where the prompt begins: /lua.wasm and so on, and, compiled, *.cwasm. Those for tests are in /guests.
PROGRAMS      = bzip2 cjpeg jpeg2ppm lua minigzip overflow qjs sqlite3 words zstd
TEST_PROGRAMS = test_setjmp
PROGRAM_FILES = $(foreach kind,wasm cwasm,\
	$(foreach program,$(PROGRAMS),--extra $(OUT)/programs/$(program).$(kind)=$(program).$(kind)) \
	$(foreach program,$(TEST_PROGRAMS),--extra $(OUT)/programs/$(program).$(kind)=guests/$(program).$(kind)))

image: tools developer-keys kernel guests
	@mkdir -p $(OUT)/guests
	@for guest in $(GUESTS); do \
		$(TOOLS)/wasmc guests/$$guest.wat -o $(OUT)/guests/$$guest.cwasm --target x86_64-theseus || exit 1; done
	@# Signed with other keys, they would be worth nothing.
	@cmp -s $(WASM_KEYS)/trusted.keys $(OUT)/programs/.keys || rm -f $(OUT)/programs/*.cwasm
	@cp $(WASM_KEYS)/trusted.keys $(OUT)/programs/.keys
	@cd $(OUT)/programs && for program in $(PROGRAMS) $(TEST_PROGRAMS); do \
		for newer in $$program.wasm $(TOOLS)/wasmc $(WASM_KEYS)/signing.key; do \
			[ $$program.cwasm -nt $$newer ] || { echo $$program; break; }; done; done | \
		xargs -P "$$(nproc)" -I{} sh -c '$(TOOLS)/wasmc {}.wasm -o {}.new --target x86_64-theseus && mv {}.new {}.cwasm'
	@$(IMAGE_BUILDER) $(PROGRAM_FILES) -o $(ARCHIVE)

guests: setup ## build the programs: Lua, SQLite, QuickJS and others as WebAssembly (clang, wasi-libc)
	@PATH="$$(scripts/setup --toolchain-path)$$PATH" guests/build $(OUT)/programs

build: image ## build the host's tools, the base image and the boot archive

iso: image ## build a bootable ISO (GRUB; BIOS and UEFI)
	@rm -rf $(OUT)/iso && mkdir -p $(OUT)/iso/boot/grub
	@cp kernel/nano_core/grub.cfg $(OUT)/iso/boot/grub/grub.cfg
	@cp $(NANO_CORE) $(OUT)/iso/boot/nano_core.elf && cp $(ARCHIVE) $(OUT)/iso/boot/theseus.cpio
	@grub-mkrescue -o $(ISO) $(OUT)/iso 2> $(OUT)/grub-mkrescue.log || { cat $(OUT)/grub-mkrescue.log; exit 1; }
	@echo "$(ISO)"

run: image ## boot in QEMU; the prompt is on this terminal (CMD='…': run that line, exit with its status)
	@$(BOOT) $(if $(DISK),--disk '$(DISK)') $(if $(SHARE),--share '$(SHARE)') $(if $(value CMD),--cmd "$$CMD")
run: export CMD := $(value CMD)

test: fmt-check clippy test-host test-kernel test-suite test-commands test-disk test-guests test-compile test-iso ## run all tests, formatting and lints included

# Crates with tests of their own that run on the machine that builds.
HOST_TESTED = $(sort $(shell grep -rl --include=*.rs -e '\#\[test\]' kernel applications tools | cut -d/ -f2))

test-host: setup ## unit tests and the official WebAssembly test-suite, on this machine
	@tests/book
	@$(CARGO) test --quiet --features wasm_run/compiler $(addprefix -p ,$(HOST_TESTED))
	@$(CARGO) test --quiet --release -p wasm_compiler --test hostile

# Options of `make fuzz-wasi`.
ROUNDS ?= 1000
SEED   ?= 0x5EED

fuzz-wasi: image ## ROUNDS=n random sequences of WASI's calls, from SEED=n on: on this machine, and in QEMU, there on a disk and a shared folder, too
	@WASI_FUZZ_ROUNDS=$(ROUNDS) WASI_FUZZ_SEED=$(SEED) $(CARGO) test --quiet --release -p wasm_wasi --test fuzz
	@$(BOOT) --cmd 'test_wasi fuzz $(ROUNDS) $(SEED)'
	@rm -rf $(OUT)/fuzz && mkdir -p $(OUT)/fuzz/shared
	@$(BOOT) --disk $(OUT)/fuzz/disk.img --share $(OUT)/fuzz/shared \
		--cmd 'test_wasi fuzz $(ROUNDS) $(SEED) /disk && test_wasi fuzz $(ROUNDS) $(SEED) /host'
	@PATH=$$PATH:/usr/sbin fsck.fat -n $(OUT)/fuzz/disk.img

test-kernel: image ## the kernel's own tests, in QEMU with 2 processors, and some of them with 1 and 4
	@$(BOOT) --timeout 2700 --cmd test_all
	@$(BOOT) --smp 4 --timeout 2700 --cmd 'test_all smp tasks sync memory loader storm'
	@$(BOOT) --smp 1 --timeout 900 --cmd 'test_all smp tasks sync'

# The official test-suite's files for what the engine has, and our own scripts, in /files.
SUITE_ARCHIVE = $(OUT)/suite.cpio

test-suite: image ## the official WebAssembly test-suite, by `wasm_run wast` in QEMU and on this machine
	@$(TOOLS)/wasm_suite $(OUT)/suite
	@mkdir -p $(OUT)/suite/own && cp guests/*.wast $(OUT)/suite/own
	@$(IMAGE_BUILDER) --files $(OUT)/suite -o $(SUITE_ARCHIVE)
	@tests/official_suite "$(RUN_QEMU) --kernel $(NANO_CORE) --archive $(SUITE_ARCHIVE)" $(TOOLS)/wasm_run $(OUT)/suite

test-commands: image ## what a person types, in QEMU: output and status of `make run CMD=…`
	@tests/commands "$(BOOT)"

# The programs, and files for them in /files.
GUESTS_ARCHIVE = $(OUT)/guests.cpio

test-guests: image ## Lua, SQLite, QuickJS and the other programs, on known input: in QEMU and on this machine
	@$(IMAGE_BUILDER) $(PROGRAM_FILES) --extra tests/guests/script=files/script \
		$(foreach file,$(wildcard tests/guests/files/*),--extra $(file)=files/$(notdir $(file))) -o $(GUESTS_ARCHIVE)
	@tests/guests/run "$(RUN_QEMU) --kernel $(NANO_CORE) --archive $(GUESTS_ARCHIVE)" $(TOOLS)/wasm_run $(OUT)/programs

test-disk: image ## disks: kept from boot to boot, read by the host, full, failing, damaged, crashed
	@tests/disk "$(BOOT)"

test-iso: iso ## the ISO reaches the prompt, under BIOS and UEFI
	@for firmware in "" --uefi; do \
		$(RUN_QEMU) --iso $(ISO) $$firmware --accel tcg --timeout 120 --until 'theseus:/$$ ' \
			&& echo "test iso $${firmware:---bios} ... ok" || { echo "test iso $${firmware:---bios} ... FAILED"; exit 1; }; done

# The largest programs, and what the host makes of them, in /files.
COMPILE_ARCHIVE = $(OUT)/compile.cpio
LARGE_GUESTS    = zstd sqlite3 qjs
BENCH_GUESTS    = bench_lua

compile-archive: image
	@mkdir -p $(OUT)/compile
	@for guest in $(LARGE_GUESTS); do $(TOOLS)/wasmc $(OUT)/programs/$$guest.wasm \
		-o $(OUT)/compile/$$guest.cwasm --target x86_64-theseus --cpu x86-64-v3 --no-sign || exit 1; done
	@$(IMAGE_BUILDER) -o $(COMPILE_ARCHIVE) $(foreach guest,$(LARGE_GUESTS),\
		--extra $(OUT)/programs/$(guest).wasm=files/$(guest).wasm --extra $(OUT)/compile/$(guest).cwasm=files/$(guest).cwasm) \
		$(foreach guest,$(BENCH_GUESTS),--extra $(OUT)/programs/$(guest).wasm=files/$(guest).wasm)

test-compile: compile-archive ## the kernel compiles SQLite, QuickJS and zstd to the bytes that Linux makes of them, in QEMU
	@tests/compile_modules "$(RUN_QEMU) --kernel $(NANO_CORE) --archive $(COMPILE_ARCHIVE)" $(LARGE_GUESTS)

# Cargo's options for a workspace of its own.
BENCH_COMPILE = --release --quiet --manifest-path tests/bench_compile/Cargo.toml --target-dir $(CARGO_TARGET_DIR)/bench_compile

bench-compile: compile-archive ## compiling: speed, code, memory beside Wasmtime's; in the kernel beside Linux in QEMU
	@[ -e $(CARGO_TARGET_DIR)/bench_compile ] || echo "building Wasmtime: some minutes, the first time" >&2
	@$(CARGO) build $(BENCH_COMPILE)
	@$(CARGO) rustc $(BENCH_COMPILE) -p bench_compile_guest -- -C target-feature=+crt-static
	@$(CARGO_TARGET_DIR)/bench_compile/release/bench_compile $(LARGE_GUESTS:%=$(OUT)/programs/%.wasm)
	@echo
	@tests/bench_compile/in_guests "$(RUN_QEMU)" $(NANO_CORE) $(COMPILE_ARCHIVE) \
		$(CARGO_TARGET_DIR)/bench_compile/release/bench_compile_guest $(OUT)/bench_compile $(LARGE_GUESTS:%=$(OUT)/programs/%.wasm)

bench-boot: image iso ## seconds and guest instructions from power-on to the prompt and the first wasm_run; sizes
	@tests/bench_boot "$(RUN_QEMU)" $(NANO_CORE) $(ARCHIVE) $(ISO)
	@$(IMAGE_BUILDER) -o $(OUT)/sizes.cpio --sizes

# Wasmtime's side is a workspace of its own, and static, so that it can be all there is in a Linux guest.
BENCH_SANDBOX        = --release --quiet --manifest-path tests/bench_sandbox/theirs/Cargo.toml --target-dir $(CARGO_TARGET_DIR)/bench_sandbox
BENCH_SANDBOX_THEIRS = $(CARGO_TARGET_DIR)/bench_sandbox/release/bench_sandbox_theirs

bench-sandbox: image ## what traps, errors, panics and stopping a guest cost; in the kernel beside Wasmtime on Linux in QEMU
	@[ -e $(BENCH_SANDBOX_THEIRS) ] || echo "building Wasmtime: some minutes, the first time" >&2
	@$(CARGO) build --release --quiet -p bench_sandbox_ours
	@$(CARGO) rustc $(BENCH_SANDBOX) -- -C target-feature=+crt-static
	@tests/bench_sandbox/compare "$(RUN_QEMU)" $(NANO_CORE) $(ARCHIVE) $(TOOLS)/bench_sandbox_ours $(BENCH_SANDBOX_THEIRS) \
		$(OUT)/bench_sandbox

BENCH_WASI        = --release --quiet --manifest-path tests/bench_wasi/theirs/Cargo.toml --target-dir $(CARGO_TARGET_DIR)/bench_wasi
BENCH_WASI_THEIRS = $(CARGO_TARGET_DIR)/bench_wasi/release/bench_wasi_theirs

bench-wasi: compile-archive ## what WASI's calls and programs cost, in the kernel beside Wasmtime on Linux in QEMU
	@[ -e $(BENCH_WASI_THEIRS) ] || echo "building Wasmtime: some minutes, the first time" >&2
	@$(CARGO) rustc $(BENCH_WASI) -- -C target-feature=+crt-static
	@tests/bench_wasi/compare "$(RUN_QEMU)" $(NANO_CORE) $(COMPILE_ARCHIVE) $(BENCH_WASI_THEIRS) $(OUT)/programs $(OUT)/bench_wasi

clippy: setup ## lint everything, for this machine and for the kernel
	@$(CARGO) clippy --quiet --all-targets --features wasm_run/compiler $(addprefix -p ,$(HOST_TOOLS) $(HOST_TESTED)) -- -D warnings
	@$(CARGO) clippy --quiet $(KERNEL_CARGO) $(KERNEL_PACKAGES) -- -D warnings

fmt: setup ## format the code
	@$(CARGO) fmt --all

fmt-check: setup
	@$(CARGO) fmt --all --check

doc: setup ## build the documentation of all crates
	@$(CARGO) doc --quiet --no-deps $(KERNEL_CARGO) $(KERNEL_PACKAGES)
	@echo "$(CARGO_TARGET_DIR)/x86_64-theseus/doc/wasm_engine/index.html"

clean: ## remove everything that was built
	@rm -rf $(CARGO_TARGET_DIR)
