//! What kind of files a change touches, judged by their names alone.
//!
//! The categories tell a reviewer, or an orchestrator that decides what lands first, which
//! changes reach beyond their own files. It is a hint, never a gate: a table of names knows
//! no repository's layout by heart. The tables below are the whole rule; names are compared
//! without regard to case.
//!
//! What a tool wrote (`Generated`) and what only imitates real files for a test (folders
//! named `testdata` or `fixtures`) is never anything else: `node_modules/x/package.json`
//! is nobody's manifest here.

use std::collections::BTreeSet;

/// From this many changed paths on a change is broad, whatever they are.
pub const BROAD_CHANGE: usize = 20;

/// A kind of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// What the project depends on: manifests and lock files.
    DependencyManifest,
    /// How it is built and checked: build scripts, toolchains, CI.
    BuildConfig,
    /// How it runs: service definitions, deployment, settings.
    RuntimeConfig,
    /// What a tool wrote.
    Generated,
    /// What others compile or call against: crate and package roots, headers, interface
    /// definitions.
    PublicApi,
    /// [`BROAD_CHANGE`] or more paths.
    BroadChange,
}

/// The reach of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impact {
    /// The categories that occur, each once.
    pub categories: BTreeSet<Category>,
    /// The paths that others are likely to feel: all that have a category, what a tool wrote
    /// apart (it follows from something else). Sorted.
    pub heavy_paths: Vec<Vec<u8>>,
    /// Whether the thread is better promoted to a branch of its own, where people see it
    /// before it lands: there are heavy paths, or the change is broad.
    pub promotion_suggested: bool,
}

/// Judges a change by its paths (from the top folder, `/` between segments).
#[must_use]
pub fn impact<P: AsRef<[u8]>>(paths: &[P]) -> Impact {
    let mut found = Impact::default();
    let distinct: BTreeSet<&[u8]> = paths.iter().map(AsRef::as_ref).collect();
    for path in &distinct {
        let categories = of_path(path);
        if categories.iter().any(|category| *category != Category::Generated) {
            found.heavy_paths.push(path.to_vec());
        }
        found.categories.extend(categories);
    }
    if distinct.len() >= BROAD_CHANGE {
        found.categories.insert(Category::BroadChange);
    }
    found.promotion_suggested =
        !found.heavy_paths.is_empty() || found.categories.contains(&Category::BroadChange);
    found
}

/// The categories of one path. More than one is possible: `build.gradle` names dependencies
/// and is the build.
fn of_path(path: &[u8]) -> Vec<Category> {
    let path = String::from_utf8_lossy(path).to_lowercase();
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let in_folder = |table: &[&str]| folders.split('/').any(|folder| table.contains(&folder));
    if in_folder(TEST_DATA_FOLDERS) {
        return Vec::new();
    }
    if in_folder(GENERATED_FOLDERS) || GENERATED.has(&path, name) {
        return vec![Category::Generated];
    }
    let config_file = in_folder(CONFIG_FOLDERS)
        && name.rsplit_once('.').is_some_and(|(_, extension)| CONFIG_EXTENSIONS.contains(&extension));
    [
        (Category::DependencyManifest, DEPENDENCY_MANIFEST.has(&path, name)),
        (Category::BuildConfig, BUILD_CONFIG.has(&path, name)),
        (Category::RuntimeConfig, RUNTIME_CONFIG.has(&path, name) || config_file),
        (Category::PublicApi, PUBLIC_API.has(&path, name)),
    ]
    .into_iter()
    .filter_map(|(category, applies)| applies.then_some(category))
    .collect()
}

/// File names that make a category, all in lower case.
struct Table {
    /// Whole names, in any folder.
    names: &'static [&'static str],
    /// How a name begins and how it ends: `("requirements", ".txt")`.
    shapes: &'static [(&'static str, &'static str)],
    /// Folders from the top of the repository, and single files there.
    below: &'static [&'static str],
}

impl Table {
    fn has(&self, path: &str, name: &str) -> bool {
        let shaped = |(start, end): &(&str, &str)| {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        };
        self.names.contains(&name)
            || self.shapes.iter().any(shaped)
            || self.below.iter().any(|start| path.starts_with(start))
    }
}

const TEST_DATA_FOLDERS: &[&str] = &["testdata", "fixtures", "__fixtures__"];

/// Written by a tool, or copied from elsewhere by one. `build`, `target` and `out` are not
/// here: where they are committed they are as often hand-written sources.
const GENERATED_FOLDERS: &[&str] =
    &["node_modules", "vendor", "third_party", "dist", "generated", "__generated__", "__snapshots__"];

const GENERATED: Table = Table {
    names: &[],
    shapes: &[
        ("", ".min.js"),
        ("", ".min.css"),
        ("", ".js.map"),
        ("", ".css.map"),
        // protoc and its plug-ins
        ("", ".pb.go"),
        ("", ".pb.cc"),
        ("", ".pb.h"),
        ("", "_pb2.py"),
        ("", "_pb2.pyi"),
        ("", "_pb2_grpc.py"),
        // build_runner (Dart), source generators (C#), stringer and mockgen (Go)
        ("", ".g.dart"),
        ("", ".freezed.dart"),
        ("", ".g.cs"),
        ("", ".designer.cs"),
        ("", "_generated.go"),
        ("zz_generated", ".go"),
        ("", ".generated.ts"),
        ("", ".generated.rs"),
        ("", ".gen.go"),
        ("", ".gen.ts"),
    ],
    below: &[],
};

const DEPENDENCY_MANIFEST: Table = Table {
    names: &[
        // Rust
        "cargo.toml",
        "cargo.lock",
        // JavaScript
        "package.json",
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "pnpm-workspace.yaml",
        "bun.lock",
        "bun.lockb",
        "deno.json",
        "deno.jsonc",
        "deno.lock",
        // Go
        "go.mod",
        "go.sum",
        "go.work",
        "go.work.sum",
        // Python
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "pipfile",
        "pipfile.lock",
        "poetry.lock",
        "uv.lock",
        "pdm.lock",
        "environment.yml",
        // JVM
        "pom.xml",
        "build.gradle",
        "build.gradle.kts",
        "gradle.lockfile",
        "libs.versions.toml",
        "build.sbt",
        "deps.edn",
        "project.clj",
        // Ruby, PHP, Elixir, Erlang
        "gemfile",
        "gemfile.lock",
        "composer.json",
        "composer.lock",
        "mix.exs",
        "mix.lock",
        "rebar.config",
        // Swift, Dart
        "package.swift",
        "package.resolved",
        "podfile",
        "podfile.lock",
        "pubspec.yaml",
        "pubspec.lock",
        // .NET
        "packages.config",
        "packages.lock.json",
        "directory.packages.props",
        // C and C++, Haskell, Nix, Terraform, Bazel, Git
        "vcpkg.json",
        "conanfile.txt",
        "conanfile.py",
        "stack.yaml",
        "cabal.project",
        "flake.lock",
        ".terraform.lock.hcl",
        "module.bazel",
        ".gitmodules",
    ],
    shapes: &[
        ("requirements", ".txt"),
        ("requirements", ".in"),
        ("constraints", ".txt"),
        ("", ".gemspec"),
        ("", ".csproj"),
        ("", ".fsproj"),
        ("", ".vbproj"),
        ("", ".cabal"),
    ],
    below: &[],
};

const BUILD_CONFIG: Table = Table {
    names: &[
        "makefile",
        "gnumakefile",
        "justfile",
        "taskfile.yml",
        "cmakelists.txt",
        "cmakepresets.json",
        "meson.build",
        "meson_options.txt",
        "configure.ac",
        "build",
        "build.bazel",
        "workspace",
        "workspace.bazel",
        "module.bazel",
        ".bazelrc",
        "build.rs",
        "rust-toolchain",
        "rust-toolchain.toml",
        "build.gradle",
        "build.gradle.kts",
        "settings.gradle",
        "settings.gradle.kts",
        "gradle.properties",
        "build.sbt",
        "build.zig",
        "directory.build.props",
        "directory.build.targets",
        "tox.ini",
        "noxfile.py",
        "rakefile",
        "flake.nix",
        "default.nix",
        "shell.nix",
        "dockerfile",
        "containerfile",
        ".dockerignore",
        "jenkinsfile",
        ".gitlab-ci.yml",
        ".travis.yml",
        "azure-pipelines.yml",
        "bitbucket-pipelines.yml",
        ".pre-commit-config.yaml",
        "lefthook.yml",
        "turbo.json",
        "nx.json",
        "lerna.json",
    ],
    shapes: &[
        ("", ".mk"),
        ("", ".cmake"),
        ("", ".bzl"),
        ("dockerfile.", ""),
        ("", ".dockerfile"),
        ("tsconfig", ".json"),
        ("webpack.", ".js"),
        ("webpack.", ".ts"),
        ("vite.config.", ""),
        ("rollup.config.", ""),
        ("esbuild.config.", ""),
        ("babel.config.", ""),
        ("next.config.", ""),
    ],
    below: &[
        ".github/workflows/",
        ".github/actions/",
        ".circleci/",
        ".buildkite/",
        ".cargo/config",
        ".husky/",
    ],
};

const RUNTIME_CONFIG: Table = Table {
    names: &[
        ".env",
        "procfile",
        "nginx.conf",
        "fly.toml",
        "vercel.json",
        "netlify.toml",
        "wrangler.toml",
        "serverless.yml",
        "app.yaml",
        "values.yaml",
        "chart.yaml",
        "kustomization.yaml",
        "application.properties",
        "application.yml",
        "application.yaml",
    ],
    shapes: &[
        (".env.", ""),
        ("docker-compose", ".yml"),
        ("docker-compose", ".yaml"),
        ("compose", ".yml"),
        ("compose", ".yaml"),
        ("appsettings", ".json"),
        ("application-", ".properties"),
        ("application-", ".yml"),
        ("", ".tf"),
        ("", ".tfvars"),
        ("", ".service"),
    ],
    below: &[],
};

/// Folders whose files in [`CONFIG_EXTENSIONS`] are settings; sources beside them are not.
const CONFIG_FOLDERS: &[&str] = &["config", "conf", "k8s", "kubernetes", "helm", "deploy"];
const CONFIG_EXTENSIONS: &[&str] = &["yaml", "yml", "toml", "json", "ini", "conf", "properties"];

const PUBLIC_API: Table = Table {
    names: &[
        "lib.rs",
        "mod.rs",
        "index.ts",
        "index.tsx",
        "index.js",
        "index.mjs",
        "__init__.py",
        "module-info.java",
        "package-info.java",
    ],
    shapes: &[
        // Declarations that others compile against
        ("", ".h"),
        ("", ".hh"),
        ("", ".hpp"),
        ("", ".hxx"),
        ("", ".d.ts"),
        ("", ".pyi"),
        ("", ".mli"),
        // Interface definitions
        ("", ".proto"),
        ("", ".thrift"),
        ("", ".graphql"),
        ("", ".graphqls"),
        ("", ".fbs"),
        ("", ".avsc"),
        ("", ".capnp"),
        ("", ".wit"),
        ("", ".wsdl"),
        ("openapi", ".yaml"),
        ("openapi", ".yml"),
        ("openapi", ".json"),
        ("swagger", ".yaml"),
        ("swagger", ".yml"),
        ("swagger", ".json"),
    ],
    below: &[],
};

#[cfg(test)]
mod tests {
    use super::Category::{
        BroadChange, BuildConfig, DependencyManifest, Generated, PublicApi, RuntimeConfig,
    };
    use super::*;

    #[test]
    fn names_have_the_categories_that_the_tables_say() {
        let table: &[(&str, &[Category])] = &[
            ("Cargo.toml", &[DependencyManifest]),
            ("crates/core/Cargo.lock", &[DependencyManifest]),
            ("web/package.json", &[DependencyManifest]),
            ("go.mod", &[DependencyManifest]),
            ("pyproject.toml", &[DependencyManifest]),
            ("requirements-dev.txt", &[DependencyManifest]),
            ("pom.xml", &[DependencyManifest]),
            ("Gemfile", &[DependencyManifest]),
            ("app/App.csproj", &[DependencyManifest]),
            ("app/build.gradle", &[DependencyManifest, BuildConfig]),
            ("src/CMakeLists.txt", &[BuildConfig]),
            ("Dockerfile", &[BuildConfig]),
            ("docker/Dockerfile.dev", &[BuildConfig]),
            (".github/workflows/ci.yml", &[BuildConfig]),
            (".cargo/config.toml", &[BuildConfig]),
            ("tsconfig.base.json", &[BuildConfig]),
            ("docker-compose.override.yml", &[RuntimeConfig]),
            (".env.production", &[RuntimeConfig]),
            ("config/prod.yaml", &[RuntimeConfig]),
            ("infra/main.tf", &[RuntimeConfig]),
            ("src/lib.rs", &[PublicApi]),
            ("src/git/mod.rs", &[PublicApi]),
            ("src/index.ts", &[PublicApi]),
            ("pkg/__init__.py", &[PublicApi]),
            ("include/x.h", &[PublicApi]),
            ("api/v1.proto", &[PublicApi]),
            ("docs/OpenAPI.yaml", &[PublicApi]),
            ("node_modules/x/package.json", &[Generated]),
            ("api/v1.pb.go", &[Generated]),
            ("web/app.min.js", &[Generated]),
            ("src/generated/mod.rs", &[Generated]),
            ("tests/fixtures/Cargo.toml", &[]),
            ("src/config/load.rs", &[]),
            ("docs/.github/workflows/ci.yml", &[]),
            ("src/main.rs", &[]),
            ("README.md", &[]),
            ("my-package.json.bak", &[]),
            (".h", &[PublicApi]),
        ];
        for (path, expected) in table {
            assert_eq!(of_path(path.as_bytes()), *expected, "{path}");
        }
    }

    #[test]
    fn every_entry_is_in_lower_case_as_paths_are_when_compared() {
        for table in [GENERATED, DEPENDENCY_MANIFEST, BUILD_CONFIG, RUNTIME_CONFIG, PUBLIC_API] {
            let shapes = table.shapes.iter().flat_map(|(start, end)| [*start, *end]);
            for entry in table.names.iter().chain(table.below).copied().chain(shapes) {
                assert_eq!(entry, entry.to_lowercase());
            }
        }
    }

    #[test]
    fn a_change_of_ordinary_files_has_no_impact() {
        assert_eq!(impact(&["src/main.rs", "README.md"]), Impact::default());
        assert_eq!(impact::<&str>(&[]), Impact::default());
    }

    #[test]
    fn heavy_paths_are_sorted_and_leave_out_what_a_tool_wrote() {
        let found = impact(&["src/lib.rs", "dist/app.js", "Cargo.toml", "src/main.rs", "Cargo.toml"]);
        assert_eq!(found.categories, BTreeSet::from([DependencyManifest, Generated, PublicApi]));
        assert_eq!(found.heavy_paths, [b"Cargo.toml".to_vec(), b"src/lib.rs".to_vec()]);
        assert!(found.promotion_suggested);
        assert!(!impact(&["dist/app.js"]).promotion_suggested);
    }

    #[test]
    fn twenty_paths_are_broad_and_nineteen_are_not() {
        let paths: Vec<String> = (0..BROAD_CHANGE).map(|n| format!("src/{n}.rs")).collect();
        let found = impact(&paths);
        assert_eq!(found.categories, BTreeSet::from([BroadChange]));
        assert!(found.heavy_paths.is_empty() && found.promotion_suggested);
        assert_eq!(impact(&paths[1..]), Impact::default());
        // The same path twice is one path.
        let repeated: Vec<&String> = paths[1..].iter().chain(&paths[1..]).collect();
        assert_eq!(impact(&repeated), Impact::default());
    }

    #[test]
    fn a_path_that_is_no_text_is_kept_as_it_is() {
        let path = b"caf\xe9/Cargo.toml".to_vec();
        assert_eq!(impact(std::slice::from_ref(&path)).heavy_paths, [path]);
    }
}
