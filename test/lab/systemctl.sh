#!/bin/sh
# Stands in for systemd on a machine of the lab, whose first process is none: of units it knows what ours says. What
# it starts it starts again, as `Restart=always` does, until it is told to stop.
units=/etc/systemd/system
verb=$1
shift
now=no name=
for word; do
  case $word in --now) now=yes ;; --*) ;; *) name=$word ;; esac
done
wanted=$units/multi-user.target.wants/$name
pid=/run/$name.pid
isactive() { [ -e "$pid" ] && kill -0 "$(cat "$pid")" 2> /dev/null; }
stop() {
  isactive || return 0
  kill -TERM "$(cat "$pid")"
  while isactive; do sleep 0.05; done
  rm -f "$pid"
}
case $verb in
  daemon-reload | reset-failed) ;;
  enable) mkdir -p "${wanted%/*}" && ln -sf "$units/$name" "$wanted" ;;
  disable)
    [ $now = no ] || stop
    rm -f "$wanted"
    rmdir "${wanted%/*}" 2> /dev/null || :
    ;;
  is-enabled) [ -e "$wanted" ] ;;
  is-active) isactive ;;
  stop) stop ;;
  restart)
    stop
    command=$(sed -n 's/^ExecStart=//p' "$units/$name")
    settings=$(sed -n 's/^EnvironmentFile=//p' "$units/$name")
    # Who enters a machine is not yet counted as its own.
    for file in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
      [ ! -e "$file" ] || echo $$ > "$file"
    done
    setsid sh -c '
      ended=no child=
      trap "ended=yes; kill -TERM \$child" TERM
      while [ $ended = no ]; do
        env $(cat "$1") $2 &
        child=$!
        wait $child
        while kill -0 $child 2> /dev/null; do wait $child; done
        [ $ended = yes ] || sleep 0.2
      done' sh "$settings" "$command" >> "/var/log/$name.log" 2>&1 < /dev/null &
    echo $! > "$pid"
    ;;
  *)
    echo "no such verb: $verb" >&2
    exit 1
    ;;
esac
