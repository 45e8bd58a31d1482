# The commands that everyone runs; CI runs the same ones (.ci/run).

# Format, lint and document, all warnings denied
check:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --locked
    shellcheck .ci/run docs/demo.sh hooks/*

# Every test
test:
    cargo test --locked

# What heddle does must not differ where its hooks are installed
test-with-hooks:
    HEDDLE_TEST_HOOKS=1 cargo test --locked --test capture --test land --test land_checkout --test rename \
        --test reservation --test run --test threads --test worktrees

# Every test in one kind of repository: files-sha1, files-sha256, reftable-sha1 or reftable-sha256
test-format kind:
    HEDDLE_TEST_FORMAT={{kind}} cargo test --locked

# The benchmarks, release build, compared with plain Git
bench:
    cargo bench --locked --bench compare

# What commands cost over what exists, drawn into docs/; fails where a curve leaves its bound
curves:
    cargo bench --locked --bench curves

# The gate of the curves can fail: each control must turn it red
curves-controls:
    ! HEDDLE_CURVES_CONTROL=sleep HEDDLE_CURVES_MOST=10000 HEDDLE_BENCH_PAIRS=5 cargo bench --locked --bench curves -- packed
    ! HEDDLE_CURVES_CONTROL=unwatched HEDDLE_BENCH_PAIRS=3 cargo bench --locked --bench curves -- watched
    ! HEDDLE_CURVES_CONTROL=index HEDDLE_BENCH_PAIRS=3 cargo bench --locked --bench curves -- paths

# Rewrite what is generated and checked in: schemas and man pages
regen:
    HEDDLE_REGEN=1 cargo test --locked --test generated

# Races, crashes, faults and power cuts, for as long as it takes (docs/reliability.md)
torture:
    HEDDLE_FAULTS=all HEDDLE_KILLS=all HEDDLE_ZOMBIES=all HEDDLE_POWER=all HEDDLE_DAMAGE=all HEDDLE_POWER_DRAWS=6 \
        HEDDLE_DAMAGE_CASES=10000 HEDDLE_FUZZ_CASES=2500 HEDDLE_HISTORIES=200 HEDDLE_CROWD_ROUNDS=1000 \
        HEDDLE_CROWD_THREADS=1000 HEDDLE_WATCHED=60 cargo test --locked --test races --test crashes --test crashes_around \
        --test crashes_git --test zombies --test faults --test disks --test damage --test power_loss \
        --test power_around --test fuzz --test clocks --test namespaces --test histories --test crowds --test watched -- --nocapture
