//! The control groups that hold this process: its own and those above it, whose limits hold, too.
//!
//! `/proc/self/cgroup` names the groups. They are directories below `/sys/fs/cgroup`, where systemd and
//! container engines mount them. In a container the names can be those of the host, and the directory
//! at the top is the container's own. So a directory that does not exist is passed over.

use std::path::{Component, Path, PathBuf};

use super::kernel_files;

/// The usual mount point of control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// Returns the directories in which the limits of a controller, such as `pids`, can be.
pub(super) fn directories(controller: &str) -> Vec<PathBuf> {
    let groups = kernel_files::text("/proc/self/cgroup").unwrap_or_default();

    directories_in(&groups, controller)
}

/// Returns the directories for the text of `/proc/self/cgroup`. A line of it is `7:cpu,cpuacct:/path`
/// in version 1, where each controller has a tree of groups. It is `0::/path` in version 2, with one
/// tree.
fn directories_in(groups: &str, controller: &str) -> Vec<PathBuf> {
    let mut directories = Vec::new();

    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };

        // Where both versions are mounted, the one tree of version 2 is beside those of version 1.
        let mounts = match controllers {
            "" => vec!["", "unified"],
            list if list.split(',').any(|name| name == controller) => vec![list],
            _ => continue,
        };

        for mount in mounts {
            let mount = Path::new(ROOT).join(mount);
            directories.extend(with_those_above(path).map(|group| mount.join(group)));
        }
    }

    directories
}

/// Returns the path of a group within its tree, and those of the groups above it.
fn with_those_above(path: &str) -> impl Iterator<Item = &Path> {
    let path = Path::new(path.trim_start_matches('/'));
    let is_plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));

    // From inside a namespace a group outside of it shows as `/../other`, and cannot be reached.
    let path = if is_plain { path } else { Path::new("") };
    path.ancestors()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(groups: &str, controller: &str) -> Vec<String> {
        let directories = directories_in(groups, controller);
        let names = directories.iter().map(|path| path.to_str().unwrap());
        names
            .map(|name| name.trim_end_matches('/').to_owned())
            .collect()
    }

    #[test]
    fn each_controller_has_a_tree_in_version_1() {
        let groups = "12:pids:/docker/a1\n3:cpu,memory:/x:y\n2:name=pids:/\n";
        assert_eq!(
            of(groups, "pids"),
            [
                "/sys/fs/cgroup/pids/docker/a1",
                "/sys/fs/cgroup/pids/docker",
                "/sys/fs/cgroup/pids",
            ]
        );
        assert_eq!(
            of(groups, "memory"),
            ["/sys/fs/cgroup/cpu,memory/x:y", "/sys/fs/cgroup/cpu,memory"]
        );
        assert!(of(groups, "io").is_empty());
    }

    #[test]
    fn all_controllers_have_one_tree_in_version_2() {
        assert_eq!(
            of("0::/system.slice/echo.service\n", "pids"),
            [
                "/sys/fs/cgroup/system.slice/echo.service",
                "/sys/fs/cgroup/system.slice",
                "/sys/fs/cgroup",
                "/sys/fs/cgroup/unified/system.slice/echo.service",
                "/sys/fs/cgroup/unified/system.slice",
                "/sys/fs/cgroup/unified",
            ]
        );
    }

    #[test]
    fn a_group_outside_of_its_namespace_is_the_top() {
        let tops = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        assert_eq!(of("0::/\n", "pids"), tops);
        assert_eq!(of("0::/../../other\n", "pids"), tops);
        assert!(of("", "pids").is_empty());
        assert!(of("nonsense\n0:\n", "pids").is_empty());
    }
}
