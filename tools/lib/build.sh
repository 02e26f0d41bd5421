# shellcheck shell=bash disable=SC2154
# Configures and builds a build directory. Sourced; needs lib/common.sh.

# build_tree DIRECTORY [MESON-OPTION...]: sets DIRECTORY up if it is not, then builds everything in it.
build_tree() {
    local directory=$1
    shift
    if [[ -f $directory/build.ninja ]]; then
        meson configure "$directory" "$@" >/dev/null
    else
        meson setup "$directory" "$pollux_root" "$@"
    fi
    ninja -C "$directory"
}
