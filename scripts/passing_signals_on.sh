# For scripts to source: runs a command that gets the signals to the script, since bash alone would end and leave it behind.
# Ctrl-C reaches both. Afterwards $stopped says whether there was a signal.
stopped=
passing_signals_on() {
    (trap - INT; exec "$@") &
    local job=$! status
    trap 'stopped=1; kill -TERM "$job" 2>/dev/null || true' TERM USR1
    trap stopped=1 INT
    while true; do
        status=0
        wait "$job" || status=$?
        kill -0 "$job" 2>/dev/null || break
    done
    trap - TERM USR1 INT
    return "$status"
}
