# Tests and benchmarks; included by the Makefile.
UNIT   := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/%)
PYTHON := /usr/bin/python3

$(BUILD)/tests/test_%: tests/unit/test_%.c $(LIB_A)
	$(call say,TEST,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -MF $@.d -Itests/unit $< $(filter %.o,$^) $(LIB_A) $(TOOL_LIBS) $(UNIT_LIBS) -lcmocka -o $@

# Without sanitizers: a bad plugin has to misbehave in its own way.
$(BUILD)/zoo/%.so: tests/zoo/%.c
	$(call say,ZOO,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(PLUGIN_FLAGS) -MMD -MP -MF $(@:.so=.d) -shared $(LDHARD) $< -o $@

# ABI 1.0 for ever: against the header of then, not today's (test_abi.py).
$(BUILD)/abi/%.so: tests/abi/%.c tests/abi/worker-1.0.h
	$(call say,ABI,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 $(OPT) $(WARN) -D_GNU_SOURCE -fPIC -fvisibility=hidden -shared $< -o $@

# Workers that use one part of the SDK each (test_sdk.py).
SDK_TESTS := $(patsubst tests/sdk/%,$(BUILD)/sdk/%.so,$(basename $(wildcard tests/sdk/*.c tests/sdk/*.cc)))
$(BUILD)/sdk/%.so: tests/sdk/%.c
	$(call say,SDK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(PLUGIN_FLAGS) -MMD -MP -MF $(@:.so=.d) -shared $(LDHARD) $< -o $@
$(BUILD)/sdk/%.so: tests/sdk/%.cc
	$(call say,SDK,$@)
	@mkdir -p $(@D)
	$(Q)$(CXX) -std=c++17 $(OPT) -Wall -Wextra -Wpedantic -Wshadow -Werror -fPIC -Isdk/include -MMD -MP -MF $(@:.so=.d) -shared $< -o $@

$(BUILD)/bench/bare_libssh: tests/bench/bare_libssh.c
	$(call say,BENCH,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -MF $@.d $< -lssh -o $@

$(BUILD)/bench/codec: tests/bench/codec.c $(LIB_A)
	$(call say,BENCH,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -MF $@.d $< $(LIB_A) $(TOOL_LIBS) -o $@

# As a program of a user's is built: headers and shared library.
$(BUILD)/bench/session: tests/bench/session.c $(wildcard sdk/include/sshexec/*.h) $(LIB_SO)
	$(call say,BENCH,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 $(OPT) $(WARN) $(SANFLAGS) -D_GNU_SOURCE -Isdk/include $(CFLAGS) $< -L$(BUILD)/lib -lsshexec -Wl,-rpath,'$$ORIGIN/../lib' -o $@

BENCH_PLUGINS := $(BUILD)/bench/plugins/echo_fork.so $(BUILD)/bench/plugins/bulk.so
$(BENCH_PLUGINS): $(BUILD)/bench/plugins/%.so: tests/bench/%.c sdk/include/sshexec/worker.h
	$(call say,PLUGIN,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(PLUGIN_FLAGS) -shared $(LDHARD) $< -o $@
BENCH := $(BUILD)/bench/bare_libssh $(BUILD)/bench/session $(BUILD)/bench/codec $(BENCH_PLUGINS)

# msgpack-c's own unpacker judges ours.
$(BUILD)/tests/test_value: private UNIT_LIBS := -lmsgpackc

# The half of a transfer that put and the tool share.
$(BUILD)/tests/test_files: private DEFS += -Iplugins
$(BUILD)/tests/test_files: $(call obj,$(FILES_SRC))
$(BUILD)/tests/test_sha256: $(FILES_SRC)

# A part of the agent.
$(BUILD)/tests/test_lane: private DEFS += -Iagent
$(BUILD)/tests/test_lane: $(call obj,$(filter-out agent/main.c,$(AGENT_SRC))) $(BUILD)/obj/agent/embed.o

# These read real plugins.
$(BUILD)/tests/test_elf $(BUILD)/tests/test_plugin: private DEFS += -DPLUGIN_DIR='"$(abspath $(BUILD))/plugins"'
$(BUILD)/tests/test_elf $(BUILD)/tests/test_plugin: $(BUILD)/plugins/hello.so

# The sender's transports alone (test_transport.py), connections through a bastion alone (test_bastion.py), a session alone (test_zoo.py), host sets alone (test_hosts_command.py).
$(BUILD)/tests/%_probe: tests/integration/%_probe.c $(LIB_A)
	$(call say,TEST,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -MF $@.d $< $(LIB_A) $(TOOL_LIBS) -o $@

# Readers of hostile bytes: what fuzzing found stays found (replay.c), and `make fuzz`, which needs clang.
FUZZ_PARTS := tests/fuzz/targets.h $(wildcard tests/fuzz/targets*.c) \
  $(call obj,$(FILES_SRC) $(filter-out agent/main.c,$(AGENT_SRC))) $(BUILD)/obj/agent/embed.o $(LIB_A)
FUZZ_FLAGS = $(CFLAGS_ALL) -Iplugins -Iagent -MF $@.d $(filter %.c %.o,$^) $(LIB_A) $(TOOL_LIBS)
$(BUILD)/tests/test_fuzz: tests/fuzz/replay.c $(FUZZ_PARTS)
	$(call say,TEST,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -DCORPUS='"$(abspath tests/fuzz/corpus)"' $(FUZZ_FLAGS) -o $@
$(BUILD)/tests/libfuzzer: tests/fuzz/libfuzzer.c $(FUZZ_PARTS)
	$(call say,FUZZ,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -fsanitize=fuzzer $(FUZZ_FLAGS) -o $@
FUZZ_SECONDS ?= 20
FUZZ ?= $(notdir $(wildcard tests/fuzz/corpus/*))
FUZZ_BUILD := $(BUILD)-fuzz
fuzz:
	@tools/setup test
	@$(SUBMAKE) BUILD=$(FUZZ_BUILD) CC=clang SAN=address,undefined CFLAGS=-fsanitize=fuzzer-no-link $(FUZZ_BUILD)/tests/libfuzzer
	@for t in $(FUZZ); do mkdir -p $(FUZZ_BUILD)/corpus/$$t $(FUZZ_BUILD)/found && echo "  FUZZ    $$t" && \
	  FUZZ_TARGET=$$t $(FUZZ_BUILD)/tests/libfuzzer -max_total_time=$(FUZZ_SECONDS) -timeout=10 -max_len=16384 -verbosity=0 -print_final_stats=1 \
	  -artifact_prefix=$(FUZZ_BUILD)/found/$$t- $(FUZZ_BUILD)/corpus/$$t tests/fuzz/corpus/$$t || exit 1; done

# What a program sees: the headers and the shared library.
API_SRC := $(wildcard tests/api/*.c)
$(BUILD)/tests/api: $(API_SRC) tests/api/api.h tests/zoo/items.h plugins/hello.h $(wildcard sdk/include/sshexec/*.h) $(LIB_SO)
	$(call say,TEST,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 $(OPT) $(WARN) $(SANFLAGS) -D_GNU_SOURCE -Isdk/include -Iplugins -Itests/zoo $(CFLAGS) $(API_SRC) \
	  -L$(BUILD)/lib -lsshexec -Wl,-rpath,'$$ORIGIN/../lib' -pthread -o $@

unit: $(if $(SAN),,$(BUILD)/tests/read-by-clang) $(BUILD)/tests/api $(BUILD)/tests/test_fuzz $(UNIT) $(BUILD)/tests/transport_probe $(BUILD)/tests/bastion_probe $(BUILD)/tests/session_probe $(BUILD)/tests/hostset_probe $(BUILD)/tests/fleet_probe
zoo: $(ZOO:%=$(BUILD)/zoo/%.so) $(BUILD)/abi/first.so $(SDK_TESTS)

# The other compiler reads all of it: its warnings are errors, too.
READ_BY_CLANG := $(wildcard core/*/*.c agent/*.c agent/*/*.c tools/sshexec/*.c plugins/*.c plugins/*/*.c tests/unit/*.c tests/fuzz/*.c tests/zoo/*.c tests/api/*.c tests/integration/*.c tests/bench/*.c sdk/examples/*.c sdk/examples/*/*.c)
$(BUILD)/tests/read-by-clang: $(READ_BY_CLANG) $(wildcard core/*/*.h agent/*.h tools/sshexec/*.h sdk/include/sshexec/*.h) | $(BUILD)/gen/agent_digest.h
	$(call say,CLANG,$@)
	@mkdir -p $(@D)
	$(Q)clang -fsyntax-only -std=c17 $(WARN) $(DEFS) -DPLUGIN_DIR='"plugins"' -DCORPUS='"corpus"' -Iplugins -Iagent -Itests/unit -Itests/zoo $(READ_BY_CLANG)
	@touch $@

# SAN and BUILD go on to the inner make, so `make check BUILD=elsewhere` works too.
export CC CXX
SUBMAKE = $(MAKE) --no-print-directory
check:
	@tools/setup test
	@$(SUBMAKE) all unit zoo
	@$(PYTHON) tests/run $(BUILD)
check-long:
	@tools/setup long
	@$(SUBMAKE) all unit zoo agent-aarch64
	@$(PYTHON) tests/run --long $(BUILD)
check-asan: ; @$(SUBMAKE) BUILD=$(BUILD)-asan SAN=address,undefined check
# The sender under ThreadSanitizer, against agents and plugins of the ordinary build.
check-tsan:
	@tools/setup test
	@$(SUBMAKE) all zoo
	@$(SUBMAKE) BUILD=$(BUILD)-tsan SAN=thread all $(addprefix $(BUILD)-tsan/tests/,api fleet_probe transport_probe bastion_probe)
	@API_BUILD=$(abspath $(BUILD)) $(PYTHON) tests/run $(BUILD)-tsan test_api.py test_fleet.py test_fan_out.py test_bastion.py test_scatter.py
bench-programs: $(BENCH) $(BUILD)/tests/fleet_probe
	@cp $(BUILD)/plugins/echo.so $(BUILD)/bench/plugins/
bench:
	@tools/setup bench
	@$(SUBMAKE) all bench-programs
	@$(PYTHON) tests/bench/bench $(BUILD)
	@$(PYTHON) tests/bench/fleet $(BUILD)
	@$(PYTHON) tests/bench/bundle $(BUILD)
	@$(PYTHON) tests/bench/copies $(BUILD)

.PHONY: fuzz bench-programs unit zoo check check-long check-asan check-tsan bench
