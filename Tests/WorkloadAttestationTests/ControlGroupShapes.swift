@testable import WorkloadAttestation

/// Texts of `PID/cgroup` as they are seen, with what they say.
struct Shape {
  let name: String
  /// Where the shape is from. «spire» is spiffe/spire at ef8527e.
  let source: String
  let text: String
  var container: Container?
  var unit: String?
  var failure: String?

  static let a = "09bc3d7ade839efec32b6bec4ec79d099027a668ddba043083ec21d3c3b8f1e6"
  static let b = "93529524695bb00d91c1f6dba692ea8d3550c3b94fb2463af7bc9ec82f992d26"
  static let pod = "a2830d0d-b0f0-4ff0-81b5-0ee4e299cf80"
  static let podUnderscored = "a2830d0d_b0f0_4ff0_81b5_0ee4e299cf80"
  static let staticPod = "b1e89a2fcc688644de3eb95aee8025ce"

  static func docker(_ id: String = a) -> Container { Container(id: id, runtime: .docker) }
  static func pod(_ runtime: Container.Runtime?, _ quality: String, uid: String = pod) -> Container {
    Container(id: a, runtime: runtime, podUID: uid, quality: quality)
  }

  static let all: [Shape] =
    plain + docker + podman + kubernetes + impersonation
  static let plain: [Shape] = [
    Shape(name: "root, v2", source: "cgroups(7)", text: "0::/\n"),
    Shape(
      name: "hybrid without systemd", source: "the build machine",
      text: "9:name=systemd:/\n4:memory:/process_api/52b5bc593c579ce3a623df869c7a0119\n1:cpu:/\n0::/\n"),
    Shape(name: "service", source: "systemd.unit(5)", text: "0::/system.slice/nginx.service\n", unit: "nginx.service"),
    Shape(
      name: "service that delegates to itself", source: "systemd, CGROUP_DELEGATION.md",
      text: "0::/system.slice/nginx.service/payload/nested.service\n", unit: "nginx.service"),
    Shape(
      name: "template with an escaped instance", source: "systemd-escape(1)",
      text: "0::/system.slice/system-systemd\\x2dfsck.slice/systemd-fsck@dev-disk-by\\x2duuid-1.service\n",
      unit: "systemd-fsck@dev-disk-by\\x2duuid-1.service"),
    Shape(
      name: "session", source: "spire cgroups_test.go",
      text: "9:pids:/user.slice/user-1000.slice\n1:name=systemd:/user.slice/user-1000.slice/session-2.scope\n",
      unit: "session-2.scope"),
    Shape(
      name: "service of a user's manager", source: "spire cgroups_test.go",
      text: "1:name=systemd:/user.slice/user-1000.slice/user@1000.service/gnome-terminal-server.service\n"
        + "0::/user.slice/user-1000.slice/user@1000.service/gnome-terminal-server.service\n", unit: "user@1000.service"),
    Shape(
      name: "v1 name=systemd wins over the unified one", source: "systemd, hybrid mode",
      text: "1:name=systemd:/system.slice/a.service\n0::/system.slice/b.service\n", unit: "a.service"),
    Shape(name: "the first process", source: "systemd.special(7)", text: "0::/init.scope\n", unit: "init.scope"),
    Shape(name: "directly in a slice", source: "systemd.slice(5)", text: "0::/system.slice\n"),
    Shape(
      name: "escaped by systemd", source: "systemd, cg_escape", text: "0::/_cgroup.service\n", unit: "cgroup.service"),
    Shape(
      name: "escaped twice", source: "systemd, cg_escape", text: "0::/system.slice/__x.service\n", unit: "_x.service"),
    Shape(
      name: "a scope with a folder", source: "seen, systemd-run --scope", text: "0::/machine.slice/web.scope/payload\n",
      unit: "web.scope"),
    Shape(
      name: "nspawn", source: "systemd-nspawn(1)", text: "0::/machine.slice/machine-web.scope/payload\n",
      unit: "machine-web.scope"),
    Shape(name: "no unit's name", source: "systemd.unit(5)", text: "0::/system.slice/a b.service\n"),
    Shape(name: "only a suffix", source: "systemd.unit(5)", text: "0::/.service\n"),
  ]
  static let docker: [Shape] = [
    Shape(
      name: "docker, v1, cgroupfs", source: "spire k8s/testdata/cgroups_pid_in_kind_pod.txt, its outer half",
      text: "13:name=systemd:/docker/\(a)\n12:pids:/docker/\(a)\n0::/\n", container: docker()),
    Shape(
      name: "docker, v1, systemd", source: "neuvector/neuvector cgroup_test.go",
      text: "10:devices:/system.slice/docker-\(a).scope\n1:name=systemd:/system.slice/docker-\(a).scope\n",
      container: docker(), unit: "docker-\(a).scope"),
    Shape(
      name: "docker, v2, systemd", source: "GuanceCloud/datakit, find_string 21906822289",
      text: "0::/system.slice/docker-\(a).scope\n", container: docker(), unit: "docker-\(a).scope"),
    Shape(
      name: "docker, v2, cgroupfs", source: "docker's default parent", text: "0::/docker/\(a)\n", container: docker()),
    Shape(
      name: "docker in a slice of one's own", source: "docker run --cgroup-parent",
      text: "0::/web.slice/docker-\(a).scope\n", container: docker(), unit: "docker-\(a).scope"),
    Shape(
      name: "systemd in docker", source: "GuanceCloud/datakit, find_string 21906822289",
      text: "0::/system.slice/docker-\(a).scope/system.slice/containerd.service\n", container: docker(),
      unit: "docker-\(a).scope"),
    Shape(
      name: "rootless docker", source: "docker rootless, systemd driver",
      text: "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-\(a).scope\n",
      container: Container(id: a, runtime: .docker, user: 1000), unit: "user@1000.service"),
    Shape(
      name: "docker's builder", source: "seen, BuildKit in dockerd",
      text: "0::/docker/buildkit/abcdefghijklmnopqrstuvwxy\n"),
    Shape(
      name: "docker in docker, cgroupfs", source: "seen, docker:dind", text: "0::/docker/\(a)/docker/\(b)\n",
      container: docker()),
    Shape(
      name: "the engine itself", source: "docker.service", text: "0::/system.slice/docker.service\n",
      unit: "docker.service"),
  ]
  static let podman: [Shape] = [
    Shape(
      name: "podman", source: "podman inspect, find_string 27743389551", text: "0::/machine.slice/libpod-\(a).scope\n",
      container: Container(id: a, runtime: .podman), unit: "libpod-\(a).scope"),
    Shape(
      name: "podman with crun", source: "find_string 58972206007",
      text: "0::/machine.slice/libpod-\(a).scope/container\n",
      container: Container(id: a, runtime: .podman), unit: "libpod-\(a).scope"),
    Shape(
      name: "podman pod", source: "podman pod create",
      text: "0::/machine.slice/machine-libpod_pod_\(b).slice/libpod-\(a).scope\n",
      container: Container(id: a, runtime: .podman), unit: "libpod-\(a).scope"),
    Shape(
      name: "podman, cgroupfs", source: "podman --cgroup-manager=cgroupfs", text: "0::/libpod_parent/libpod-\(a)\n",
      container: Container(id: a, runtime: .podman)),
    Shape(
      name: "Quadlet", source: "seen, podman --cgroups=split", text: "0::/system.slice/q.service/libpod-payload-\(a)\n",
      unit: "q.service"),
    Shape(
      name: "Quadlet of a user", source: "seen, podman --cgroups=split",
      text: "0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/libpod-payload-\(a)\n",
      unit: "user@1000.service"),
    Shape(
      name: "podman's monitor is no container", source: "conmon",
      text: "0::/machine.slice/libpod-conmon-\(a).scope\n", unit: "libpod-conmon-\(a).scope"),
    Shape(
      name: "rootless podman", source: "spire docker_posix_test.go",
      text: "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-\(a).scope\n",
      container: Container(id: a, runtime: .podman, user: 1000), unit: "user@1000.service"),
    Shape(
      name: "rootless podman pod", source: "seen, podman pod create with crun",
      text: "0::/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_\(b).slice/libpod-\(a).scope"
        + "/container\n", container: Container(id: a, runtime: .podman, user: 1000), unit: "user@1000.service"),
    Shape(
      name: "nerdctl", source: "containerd/nerdctl generateCgroupPath",
      text: "0::/system.slice/nerdctl-\(a).scope\n", container: Container(id: a, runtime: .containerd),
      unit: "nerdctl-\(a).scope"),
  ]
  static let kubernetes: [Shape] = [
    Shape(
      name: "cgroupfs, burstable", source: "spire k8s/testdata/cgroups_pid_in_pod.txt",
      text: "9:pids:/kubepods/burstable/pod\(pod)/\(a)\n1:name=systemd:/kubepods/burstable/pod\(pod)/\(a)\n",
      container: pod(nil, "burstable")),
    Shape(
      name: "cgroupfs, best effort", source: "Qard/container-info test/fixtures",
      text: "11:devices:/kubepods/besteffort/pod\(pod)/\(a)\n", container: pod(nil, "besteffort")),
    Shape(
      name: "cgroupfs, guaranteed", source: "CJLove/rt-operator notes/cgroupv1_notes.md",
      text: "0::/kubepods/pod\(pod)/\(a)\n", container: pod(nil, "guaranteed")),
    Shape(
      name: "cgroupfs, CRI-O", source: "CRI-O, cgroup_manager cgroupfs",
      text: "0::/kubepods/burstable/pod\(pod)/crio-\(a)\n", container: pod(.crio, "burstable")),
    Shape(
      name: "systemd, docker, dashes in the pod's uid", source: "spire k8s/testdata/systemd_cgroups_pid_in_pod.txt",
      text:
        "1:name=systemd:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod\(pod).slice/docker-\(a).scope\n",
      container: pod(.docker, "burstable"), unit: "docker-\(a).scope"),
    Shape(
      name: "systemd, CRI-O, hybrid", source: "spire k8s/testdata/systemd_crio_cgroups_pid_in_pod.txt",
      text:
        "10:pids:/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod\(podUnderscored).slice/crio-\(a).scope\n"
        + "0::/system.slice/crio.service\n", container: pod(.crio, "besteffort")),
    Shape(
      name: "systemd, containerd, guaranteed", source: "CJLove/rt-operator, kubelet's name rules",
      text: "0::/kubepods.slice/kubepods-pod\(podUnderscored).slice/cri-containerd-\(a).scope\n",
      container: pod(.containerd, "guaranteed"), unit: "cri-containerd-\(a).scope"),
    Shape(
      name: "systemd, CRI-O with crun", source: "CRI-O, crun's sub-group",
      text: "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod\(podUnderscored).slice/crio-\(a).scope"
        + "/container\n", container: pod(.crio, "burstable"), unit: "crio-\(a).scope"),
    Shape(
      name: "static pod below kind's cgroup root", source: "GuanceCloud/datakit, find_string 21906822289",
      text: "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
        + "kubelet-kubepods-burstable-pod\(staticPod).slice/cri-containerd-\(a).scope\n",
      container: pod(.containerd, "burstable", uid: staticPod), unit: "cri-containerd-\(a).scope"),
    Shape(
      name: "kind's cgroup root, cgroupfs", source: "find_string 8685093331",
      text: "0::/kubelet/kubepods/burstable/pod\(pod)/\(a)\n", container: pod(nil, "burstable")),
    Shape(
      name: "containerd on cgroupfs below a kubelet on systemd, v1", source: "containerd, SystemdCgroup = false",
      text: "1:name=systemd:/system.slice/containerd.service/"
        + "kubepods-burstable-pod\(podUnderscored).slice:cri-containerd:\(a)\n",
      container: pod(.containerd, "burstable")),
    Shape(
      name: "the same, all hierarchies", source: "seen, containerd, SystemdCgroup = false",
      text: "4:cpuset:/kubepods-burstable-pod\(podUnderscored).slice:cri-containerd:\(a)\n"
        + "1:name=systemd:/system.slice/containerd.service/"
        + "kubepods-burstable-pod\(podUnderscored).slice:cri-containerd:\(a)\n",
      container: pod(.containerd, "burstable")),
    Shape(
      name: "the same, v2", source: "seen, containerd, SystemdCgroup = false: runc takes the folder of its own group",
      text: "0::/system.slice/kubepods-burstable-pod\(podUnderscored).slice:cri-containerd:\(a)\n",
      container: pod(.containerd, "burstable")),
    Shape(
      name: "CRI-O without a pod", source: "CRI-O, cgroup_manager cgroupfs", text: "0::/crio/crio-\(a)\n",
      container: Container(id: a, runtime: .crio)),
    Shape(
      name: "CRI-O's monitor is no container", source: "conmon",
      text: "0::/kubepods.slice/kubepods-pod\(podUnderscored).slice/crio-conmon-\(a).scope\n",
      unit: "crio-conmon-\(a).scope"),
  ]
  /// Where others read something that they should not, and what is not told.
  static let impersonation: [Shape] = [
    Shape(
      name: "kind: the outer container counts", source: "spire k8s/testdata/cgroups_pid_in_kind_pod.txt",
      text: "13:name=systemd:/docker/\(b)/kubepods/besteffort/pod\(pod)/\(a)\n"
        + "0::/docker/\(b)/system.slice/containerd.service\n", container: docker(b)),
    Shape(
      name: "a user makes a pod below his manager", source: "ours",
      text: "0::/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-pod\(podUnderscored).slice/"
        + "cri-containerd-\(a).scope\n", container: Container(id: a, runtime: .containerd, user: 1000),
      unit: "user@1000.service"),
    Shape(
      name: "a user makes folders of a runtime", source: "ours",
      text: "0::/user.slice/user-1000.slice/user@1000.service/kubepods/pod\(pod)/\(a)\n", unit: "user@1000.service"),
    Shape(
      name: "a service makes a container below itself", source: "ours",
      text: "0::/system.slice/web.service/docker/\(a)\n", unit: "web.service"),
    Shape(
      name: "a service makes a scope below itself", source: "ours",
      text: "0::/system.slice/web.service/docker-\(a).scope\n", unit: "web.service"),
    Shape(
      name: "a service called containerd elsewhere", source: "ours",
      text: "0::/containerd.service/x-pod\(pod).slice:cri-containerd:\(a)\n", unit: "containerd.service"),
    Shape(
      name: "a group that a container calls a slice", source: "seen, runc run web.slice in a session",
      text: "0::/user.slice/user-0.slice/web.slice/docker-\(a).scope\n"),
    Shape(
      name: "a service in such a group", source: "seen, runc run web.slice",
      text: "0::/user.slice/user-0.slice/web.slice/sshd.service\n"),
    Shape(
      name: "slices of systemd's in such a group", source: "seen, runc run web.slice",
      text: "0::/user.slice/user-0.slice/web.slice/system.slice/sshd.service\n"),
    Shape(
      name: "LXC's group of a container called web.slice", source: "lxc, lxc.payload.NAME",
      text: "0::/lxc.payload.web.slice/docker-\(a).scope\n"),
    Shape(
      name: "a slice with dashes at the root", source: "systemd.slice(5)", text: "0::/a-b.slice/docker-\(a).scope\n"),
    Shape(name: "a slice without a name", source: "systemd.slice(5)", text: "0::/.slice/docker-\(a).scope\n"),
    Shape(
      name: "a slice that only begins like its parent", source: "systemd.slice(5)",
      text: "0::/user.slice/users.slice/docker-\(a).scope\n"),
    Shape(
      name: "a user's group that he calls a slice", source: "ours",
      text: "0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.slice/docker-\(a).scope\n",
      unit: "user@1000.service"),
    Shape(
      name: "no scope", source: "seen, rootless podman",
      text: "0::/user.slice/user-1000.slice/user@1000.service/user.slice/\(a)\n", unit: "user@1000.service"),
    Shape(
      name: "a user makes another's manager", source: "ours",
      text: "0::/user.slice/user-1000.slice/user@1000.service/user@1001.service/user.slice/docker-\(a).scope\n",
      unit: "user@1000.service"),
    Shape(
      name: "another's container as parent", source: "seen, docker run --cgroup-parent=/docker/VICTIM",
      text: "0::/docker/\(a)/\(b)\n", failure: "nested_container"),
    Shape(
      name: "another's container as parent, in one hierarchy", source: "ours",
      text: "2:pids:/docker/\(b)\n1:memory:/docker/\(a)/\(b)\n", failure: "nested_container"),
    Shape(
      name: "a service as parent", source: "seen, docker run --cgroup-parent=/system.slice/cron.service",
      text: "0::/system.slice/cron.service/\(a)\n", failure: "nested_container"),
    Shape(
      name: "a service as podman's parent", source: "podman run --cgroup-parent",
      text: "0::/system.slice/cron.service/libpod-\(a)\n", failure: "nested_container"),
    Shape(
      name: "another's scope as CRI-O's parent", source: "ours",
      text: "0::/system.slice/docker-\(a).scope/crio-\(b)\n", failure: "nested_container"),
    Shape(
      name: "another's pod's container as parent", source: "docker run --cgroup-parent",
      text: "0::/kubepods/burstable/pod\(pod)/\(a)/\(b)\n", failure: "nested_container"),
    Shape(
      name: "another's container of containerd as parent", source: "docker run --cgroup-parent",
      text: "0::/system.slice/kubepods-burstable-pod\(podUnderscored).slice:cri-containerd:\(a)/\(b)\n",
      failure: "nested_container"),
    Shape(
      name: "a user's container as parent", source: "ours",
      text: "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-\(a).scope/\(b)\n",
      failure: "nested_container"),
    Shape(
      name: "two containers are none", source: "spire containerinfo, container-id-conflict",
      text: "2:pids:/docker/\(a)\n1:memory:/docker/\(b)\n", failure: "two_containers"),
    Shape(
      name: "outside the cgroup namespace", source: "spire k8s/testdata/cgroups_pid_in_crio_pod.txt",
      text: "0::/../crio-\(a).scope\n", failure: "outside_cgroup_namespace"),
    Shape(
      name: "outside the cgroup namespace, in some hierarchies", source: "seen, a daemon in docker, v1",
      text: "6:pids:/../docker/\(a)\n4:memory:/../../docker/\(a)\n1:cpu:/docker/\(a)\n",
      failure: "outside_cgroup_namespace"),
    Shape(
      name: "deleted below a service", source: "seen, a service that delegates to itself",
      text: "0::/system.slice/dlg.service/x (deleted)\n", failure: "path_malformed"),
    Shape(
      name: "deleted", source: "kernel, proc_cgroup_show", text: "0::/system.slice/nginx.service (deleted)\n",
      failure: "path_malformed"),
    Shape(name: "an empty part", source: "ours", text: "0::/docker//\(a)\n", failure: "path_malformed"),
    Shape(name: "a short id", source: "ours", text: "0::/docker/\(a.dropLast())\n"),
    Shape(name: "a long id", source: "ours", text: "0::/system.slice/docker-\(a)0.scope\n", unit: "docker-\(a)0.scope"),
    Shape(name: "upper case", source: "ours", text: "0::/docker/\(a.uppercased())\n"),
    Shape(name: "a pod's uid of another form", source: "ours", text: "0::/kubepods/pod\(pod.dropLast())/\(a)\n"),
    Shape(name: "a class that is none", source: "ours", text: "0::/kubepods/best/pod\(pod)/\(a)\n"),
  ]
}
