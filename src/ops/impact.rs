//! What a set of changed paths touches: a pure function over names.

/// A kind of path that others depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// What the project is built from: `Cargo.toml`, `package-lock.json`, `go.mod`.
    DependencyManifest,
    /// How it is built and tested: `Makefile`, `Dockerfile`, CI workflows.
    BuildConfig,
    /// How it runs: `.env`, `docker-compose.yml`, Kubernetes and Terraform files.
    RuntimeConfig,
    /// What a program wrote: minified files, snapshots, `generated/`.
    Generated,
    /// What others call: headers, protocol definitions, a library's root.
    PublicApi,
    /// Twenty paths or more.
    BroadChange,
}

/// The number of paths from which a change is broad.
const BROAD: usize = 20;

const MANIFESTS: [&str; 22] = [
    "cargo.toml",
    "cargo.lock",
    "package.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "go.mod",
    "go.sum",
    "pyproject.toml",
    "requirements.txt",
    "poetry.lock",
    "uv.lock",
    "pipfile",
    "pipfile.lock",
    "gemfile",
    "gemfile.lock",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "composer.json",
    "composer.lock",
    "mix.exs",
];
const BUILD: [&str; 13] = [
    "makefile",
    "cmakelists.txt",
    "meson.build",
    "dockerfile",
    "justfile",
    "build.rs",
    "setup.py",
    "tsconfig.json",
    "jenkinsfile",
    ".gitlab-ci.yml",
    "rust-toolchain.toml",
    "webpack.config.js",
    "vite.config.ts",
];
const API: [&str; 6] = ["lib.rs", "index.ts", "index.d.ts", "__init__.py", "openapi.yaml", "openapi.json"];

/// What a change touches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impact {
    /// The kinds of path, sorted.
    pub categories: Vec<Category>,
    /// The paths of those kinds.
    pub heavy_paths: Vec<Vec<u8>>,
    /// Whether a branch of its own would serve the change better than a quick landing:
    /// it is broad, or touches two kinds or more.
    pub promotion_suggested: bool,
}

/// Judges the changed `paths` by their names.
#[must_use]
pub fn assess<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Impact {
    let mut impact = Impact::default();
    let mut count = 0;
    for path in paths {
        count += 1;
        if let Some(category) = category(&String::from_utf8_lossy(path).to_lowercase()) {
            impact.categories.push(category);
            impact.heavy_paths.push(path.to_vec());
        }
    }
    if count >= BROAD {
        impact.categories.push(Category::BroadChange);
    }
    impact.categories.sort_unstable();
    impact.categories.dedup();
    impact.promotion_suggested = count >= BROAD || impact.categories.len() > 1;
    impact
}

fn category(path: &str) -> Option<Category> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let below = |folders: &[&str]| path.split('/').rev().skip(1).any(|folder| folders.contains(&folder));
    if MANIFESTS.contains(&name) {
        Some(Category::DependencyManifest)
    } else if BUILD.contains(&name)
        || path.starts_with(".github/workflows/")
        || ends(&[".cmake", ".mk", ".bazel"])
    {
        Some(Category::BuildConfig)
    } else if below(&["generated", "__snapshots__", "dist"])
        || ends(&[".min.js", ".min.css", ".pb.go", "_pb2.py"])
    {
        Some(Category::Generated)
    } else if name.starts_with(".env")
        || name.starts_with("docker-compose")
        || below(&["k8s", "helm"])
        || ends(&[".tf"])
    {
        Some(Category::RuntimeConfig)
    } else if API.contains(&name) || ends(&[".proto", ".h", ".hpp", ".graphql", ".thrift"]) {
        Some(Category::PublicApi)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_known_by_their_names() {
        for (path, expected) in [
            ("Cargo.toml", Some(Category::DependencyManifest)),
            (".github/workflows/ci.yml", Some(Category::BuildConfig)),
            ("src/generated/api.rs", Some(Category::Generated)),
            ("deploy/k8s/app.yaml", Some(Category::RuntimeConfig)),
            ("include/x.h", Some(Category::PublicApi)),
            ("src/main.rs", None),
        ] {
            assert_eq!(category(&path.to_lowercase()), expected, "{path}");
        }
    }

    #[test]
    fn twenty_paths_are_broad() {
        let paths: Vec<String> = (0..20).map(|number| format!("src/{number}.rs")).collect();
        let assess = |count: usize| assess(paths[..count].iter().map(String::as_bytes));
        assert!(assess(19).categories.is_empty());
        assert_eq!(assess(20).categories, [Category::BroadChange]);
    }
}
