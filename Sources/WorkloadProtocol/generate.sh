#!/usr/bin/env bash
# Makes the messages from Protos/ anew, and the descriptors that reflection answers with. Wants Debian's
# protobuf-compiler, and protoc-gen-swift of the swift-protobuf release that Package.resolved names on the PATH:
#   swift build --package-path .build/checkouts/swift-protobuf --product protoc-gen-swift
set -euo pipefail
cd "$(dirname "$0")/Protos"

mapfile -t files < <(find . -name '*.proto' -printf '%P\n' | sort)
for file in "${files[@]}"; do
  # v1alpha's messages are v1's under another name, so v1's serve both.
  [[ $file == */v1alpha/* ]] && continue
  protoc -I . --swift_out=.. --swift_opt=Visibility=Public,FileNaming=DropPath,UseAccessLevelOnImports=true "$file"
done
protoc -I . --include_imports --descriptor_set_out=../../WorkloadAPI/Reflection/descriptors.binpb "${files[@]}"
