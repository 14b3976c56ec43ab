use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// A file that is gone when the test is over.
#[derive(Debug)]
pub struct TemporaryFile(PathBuf);

impl TemporaryFile {
    /// One with this content.
    ///
    /// # Panics
    ///
    /// If the temporary directory cannot be written to.
    #[must_use]
    pub fn new(content: &[u8]) -> Self {
        let path = unique();
        fs::write(&path, content).expect("the temporary directory can be written to");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// A folder that is gone when the test is over, with all that is in it.
#[derive(Debug)]
pub struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// An empty one.
    ///
    /// # Panics
    ///
    /// If the temporary directory cannot be written to.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        let path = unique();
        fs::create_dir(&path).expect("the temporary directory can be written to");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where a file of this name is, or would be.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Whether there is nothing in it.
    ///
    /// # Panics
    ///
    /// Those of [`names`](Self::names).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names().is_empty()
    }

    /// The names of what is in it, in their order.
    ///
    /// # Panics
    ///
    /// If the folder cannot be read, or a name is no text.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the folder can be read");
        let names = entries.map(|entry| entry.expect("the entry can be read").file_name());
        let mut names: Vec<_> = names
            .map(|name| name.into_string().expect("the test's names are text"))
            .collect();
        names.sort();
        names
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A path that no other test of any process has.
fn unique() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Relaxed);
    let name = format!("test-suite-{}-{number}", std::process::id());
    std::env::temp_dir().join(name)
}
