# sshexec: `make` builds everything into build/; `make help` lists the rest.
VERSION := 0.1.0

BUILD   ?= build
PREFIX  ?= /usr/local
V       ?= 0
SAN     ?=
CXX     ?= g++
ARCH    := $(shell uname -m)
STRIP   ?= strip

ifeq ($(origin CC),default)
CC := gcc
endif
Q := $(if $(filter 0,$(V)),@)
say = $(if $(filter 0,$(V)),@printf '  %-7s %s\n' $(1) $(2:$(BUILD)/%=%))

WARN    := -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Werror
HARDEN  := -fstack-protector-strong -fstack-clash-protection -fcf-protection
LDHARD  := -Wl,-z,relro,-z,now,-z,noexecstack
OPT     ?= $(if $(SAN),-O1,-O2) -g
DEFS    := -D_GNU_SOURCE -DSSX_VERSION='"$(VERSION)"' -DSSX_PREFIX='"$(PREFIX)"' -DSSX_LIBDIR='"$(PREFIX)/lib/sshexec"' -Icore -Isdk/include -I$(BUILD)/gen
ifeq ($(filter arm% aarch64,$(ARCH)),$(ARCH))
HARDEN  := $(filter-out -fcf-protection,$(HARDEN))
endif
ifdef SAN
# Sanitizers have no static runtime for the agent and their own interposers instead of FORTIFY.
SANFLAGS := -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
AGENT_LINK := -pie
SAN_OBJ  := $(BUILD)/obj/tests/sanitizer.o
else
HARDEN  += -D_FORTIFY_SOURCE=2
AGENT_LINK := -static-pie
# Nothing unwinds a stack at run time, and the tables for it are 12 KB of what a host is sent; with -g debuggers have theirs.
HARDEN  += -fno-asynchronous-unwind-tables
endif
CFLAGS_ALL = -std=c17 $(OPT) -ffunction-sections -fdata-sections $(WARN) $(HARDEN) $(SANFLAGS) -fPIC -fvisibility=hidden -MMD -MP $(DEFS) $(CFLAGS)

CORE_SRC   := $(wildcard core/*/*.c)
# By its digest, so that the agent can't link it.
KNOWS_AGENT := core/fleet/agents.c
AGENT_SRC  := $(wildcard agent/*.c)
HOST_SRC   := $(wildcard agent/worker-host/*.c) agent/orphans.c agent/passing.c
TOOL_SRC   := $(wildcard tools/sshexec/*.c)
PLUGINS    := $(sort $(patsubst plugins/%.c,%,$(wildcard plugins/*.c)) $(filter-out files,$(patsubst plugins/%/,%,$(dir $(wildcard plugins/*/*.c)))))
FILES_SRC  := $(wildcard plugins/files/*.c)
UNIT_SRC   := $(wildcard tests/unit/test_*.c)
ZOO        := $(patsubst tests/zoo/%.c,%,$(wildcard tests/zoo/*.c))
PAGES      := $(patsubst docs/%,$(BUILD)/%,$(wildcard docs/man/*.[1-8]))
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
# Parts of the agent in which no time goes: made small, for each new host is sent them, and they have to stay below 500 KB packed.
SMALL   := $(addprefix agent/,child.c deploy.c describe.c keygen.c main.c once.c orphans.c plugins.c proof.c sink.c stops.c tending.c vouch.c) \
  $(addprefix core/bundle/,generation.c inspect.c manifest.c signature.c store.c tend.c upload.c) $(filter-out %/codec.c,$(wildcard core/worker/*.c)) \
  $(wildcard core/wire/json_*.c) core/wire/workload.c core/base/ini.c core/base/tree.c

LIB_A   := $(BUILD)/lib/libsshexec.a
LIB_SO  := $(BUILD)/lib/libsshexec.so
LIB_SONAME := libsshexec.so.0
AGENT   := $(BUILD)/bin/sshexec-agent
TOOL    := $(BUILD)/bin/sshexec
HOST    := $(BUILD)/obj/agent/worker-host/worker-host
TOOL_LIBS := -lssh -lsodium -lcrypto -lyaml -lzstd

all: $(CROSS:%=agent-%) $(TOOL) $(AGENT) $(LIB_SO) $(PLUGINS:%=$(BUILD)/plugins/%.so) $(BUILD)/bin/sshexec-worker-run $(BUILD)/include $(BUILD)/template $(PAGES)

$(BUILD)/obj/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -c $< -o $@

$(LIB_A): $(call obj,$(filter-out $(KNOWS_AGENT),$(CORE_SRC)))
	$(call say,AR,$@)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

# The file carries the version; a program asks for the soname, a linker for the bare name.
$(LIB_SO).$(VERSION): $(LIB_A) $(call obj,$(KNOWS_AGENT)) core/exports.map
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) -shared -Wl,-soname,$(LIB_SONAME) -Wl,--version-script=core/exports.map $(if $(SAN),,-Wl,-z,defs) $(LDHARD) $(LDFLAGS) \
	  -Wl,--whole-archive $(LIB_A) -Wl,--no-whole-archive $(filter %.o,$^) $(TOOL_LIBS) -o $@

$(LIB_SO): $(LIB_SO).$(VERSION)
	$(Q)ln -sf $(<F) $(@D)/$(LIB_SONAME) && ln -sf $(LIB_SONAME) $@

# The worker host: dynamic, so that it can dlopen, and linked against old symbols only (agent/worker-host/old_glibc.h).
$(HOST): $(call obj,$(HOST_SRC)) $(SAN_OBJ) $(LIB_A)
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) -pie $(LDHARD) $(LDFLAGS) $(if $(SAN),,-nostartfiles -Wl,--gc-sections -s -Wl,--no-as-needed -l:libdl.so.2 -Wl,--as-needed) \
	  $(call obj,$(HOST_SRC)) $(SAN_OBJ) $(LIB_A) -ldl -o $@

$(BUILD)/obj/agent/%: DEFS += -Iagent
$(call obj,$(SMALL)): OPT += -Os
ifndef SAN
$(BUILD)/obj/agent/worker-host/%: DEFS += -DOLD_GLIBC
endif

$(BUILD)/obj/agent/embed.o: agent/embed.S $(HOST)
	$(call say,AS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -DWORKER_HOST='"$(HOST)"' -c $< -o $@

$(AGENT): $(call obj,$(AGENT_SRC)) $(BUILD)/obj/agent/embed.o $(SAN_OBJ) $(LIB_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SANFLAGS) $(AGENT_LINK) $(LDHARD) -Wl,--gc-sections $(LDFLAGS) $(filter %.o,$^) $(LIB_A) -lsodium -o $@
	$(if $(SAN),,$(Q)$(STRIP) $@)

# What the sender must know of the agent that it was built with: it asks hosts for exactly this one.
$(AGENT).gz: $(AGENT)
	$(Q)gzip -9nc $< > $@

$(BUILD)/gen/agent_digest.h: $(AGENT) $(AGENT).gz
	@mkdir -p $(@D)
	$(Q)printf '#define AGENT_DIGEST "%s"\n#define AGENT_SIZE %s\n#define AGENT_PACKED_SIZE %s\n#define AGENT_MACHINE "$(ARCH)"\n' \
	  "$$(sha256sum < $< | cut -d' ' -f1)" "$$(wc -c < $<)" "$$(wc -c < $<.gz)" > $@
$(call obj,$(KNOWS_AGENT)): $(BUILD)/gen/agent_digest.h

# The agent and the plugins for another architecture, by its cross compiler: `make agent-aarch64`. They stand beside those of this one, in directories of
# that name, where senders look for them. Once built they are kept up to date.
CROSS := $(notdir $(wildcard $(BUILD)/cross/*))
AGENT_CORE := $(wildcard $(addprefix core/,base/*.c wire/*.c worker/*.c bundle/*.c))
agent-%: always
	$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)/cross/$* ARCH=$* SAN= CC=$*-linux-gnu-gcc AR=$*-linux-gnu-ar STRIP=$*-linux-gnu-strip CORE_SRC='$(AGENT_CORE)' cross-parts
	@mkdir -p $(BUILD)/bin/agents/$* $(BUILD)/plugins/$*
	$(Q)cp -u $(addprefix $(BUILD)/cross/$*/bin/sshexec-agent,'' .gz .id) $(BUILD)/bin/agents/$*
	$(Q)cp -u $(BUILD)/cross/$*/plugins/*.so $(BUILD)/plugins/$*
cross-parts: $(AGENT) $(AGENT).gz $(AGENT).id $(PLUGINS:%=$(BUILD)/plugins/%.so)
$(AGENT).id: $(AGENT) $(AGENT).gz
	$(Q)echo "$(VERSION) $$(sha256sum < $< | cut -d' ' -f1) $$(wc -c < $<) $$(wc -c < $<.gz)" > $@

$(TOOL): $(call obj,$(TOOL_SRC) $(FILES_SRC) $(KNOWS_AGENT)) $(SAN_OBJ) $(LIB_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SANFLAGS) -pie $(LDHARD) $(LDFLAGS) $(filter %.o,$^) $(LIB_A) $(TOOL_LIBS) -o $@

# Plugins see the SDK and nothing else, and link nothing of ours: plugins/NAME.c, or all of plugins/NAME/.
PLUGIN_FLAGS = -std=c17 $(OPT) $(WARN) $(HARDEN) -fPIC -fvisibility=hidden -D_GNU_SOURCE -Isdk/include $(CFLAGS)
.SECONDEXPANSION:
# put and get share plugins/files/ with each other, and with the tool, which is their other half.
$(BUILD)/plugins/put.so $(BUILD)/plugins/get.so: $(FILES_SRC) $(wildcard plugins/files/*.h)
$(BUILD)/obj/tools/%: DEFS += -Iplugins
$(BUILD)/plugins/%.so: $$(wildcard plugins/$$*.[ch] plugins/$$*/*.[ch]) sdk/include/sshexec/worker.h
	$(call say,PLUGIN,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(PLUGIN_FLAGS) $(SANFLAGS) -shared $(LDHARD) $(filter %.c,$^) -o $@

# For workers built against this tree: `sshexec new` and its Makefile find them as in an installation.
$(BUILD)/include $(BUILD)/template:
	@mkdir -p $(@D)
	$(Q)ln -sfn $(abspath sdk/$(@F)) $@

# Manual pages, with what several say in the same words put in; and the prefix, which a new one must bring into what was compiled.
$(BUILD)/man/%: docs/man/% $(wildcard docs/man/*.inc) tools/page.awk
	@mkdir -p $(@D)
	$(Q)awk -v dir=docs/man -f tools/page.awk $< > $@
$(BUILD)/gen/prefix: always
	@mkdir -p $(@D)
	@[ "$$(cat $@ 2>/dev/null)" = '$(PREFIX)' ] || printf '%s' '$(PREFIX)' > $@
$(BUILD)/obj/core/base/install.o: $(BUILD)/gen/prefix

# One call of a plugin in one process, for `sshexec test` with a debugger: the worker host's services without its forks.
WORKER_RUN := $(BUILD)/bin/sshexec-worker-run
WORKER_RUN_SRC := agent/worker-run/main.c $(addprefix agent/worker-host/,load.c sandbox.c services.c work.c)
$(WORKER_RUN): $(call obj,$(WORKER_RUN_SRC)) $(SAN_OBJ) $(LIB_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SANFLAGS) -pie $(LDHARD) -Wl,--gc-sections $(LDFLAGS) $(filter %.o,$^) $(LIB_A) -ldl -o $@

include tests/tests.mk

# PREFIX is compiled in: the same for all three.
LIBDIR ?= $(PREFIX)/lib
ZSH_FUNCTIONS ?= $(PREFIX)/share/zsh/site-functions
INSTALL_WHERE = BUILD='$(BUILD)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' ZSH_FUNCTIONS='$(ZSH_FUNCTIONS)' VERSION='$(VERSION)'
install: all
	@$(INSTALL_WHERE) tools/install
uninstall:
	@$(INSTALL_WHERE) tools/install --uninstall
install-agents: $(CROSS:%=agent-%)
	@$(INSTALL_WHERE) tools/install --agents

deb:
	@tools/setup deb
	@packaging/deb $(abspath $(BUILD))
deb-arm64:
	@tools/setup deb
	@tools/setup arm64
	@packaging/deb $(abspath $(BUILD)) arm64

demo:
	@tools/setup build
	@$(MAKE) --no-print-directory all
	@tools/demo $(BUILD)

clean: ; rm -rf build build-*

help:
	@printf '%s\n' 'make             build into build/' 'make demo        install what is missing, build, run workers here' \
	  'make check       all tests (installs what they need)' 'make check-asan  the same under address and undefined-behaviour sanitizers' \
	  'make check-tsan  the library under the thread sanitizer' \
	  'make check-long  the longer tests' 'make fuzz        readers of hostile bytes under libFuzzer, FUZZ_SECONDS (20) each; FUZZ=json for one' 'make bench       compare with peers, in the same run' \
	  'make agent-aarch64  the agent and plugins for another architecture too' 'make install     into PREFIX (/usr/local), below DESTDIR where given; make uninstall' \
	  'make deb         Debian packages, in build/deb; make deb-arm64: those that a sender has for arm64 hosts, in build/deb-arm64' 'make clean' \
	  'V=1 shows commands; CC=clang, CFLAGS, LDFLAGS, BUILD are yours to set'

.PHONY: all cross-parts install uninstall install-agents deb deb-arm64 demo clean help always
.DELETE_ON_ERROR:
-include $(shell find $(BUILD) -path '$(BUILD)/deb*' -prune -o -type f -name '*.d' -print 2>/dev/null)
