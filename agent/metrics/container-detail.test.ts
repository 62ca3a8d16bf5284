import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readContainerDetail } from './container-detail.ts';
import { readMachineHealth, throttledOf } from './machine-health.ts';

let root = '';
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'flotilla-detail-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), text);
  }
}

function detail(files: Readonly<Record<string, string>>) {
  write(files);
  return readContainerDetail({ root: path.join(root, 'cg'), proc: path.join(root, 'proc') }, 42);
}

const unlimited = '9223372036854771712\n';

describe('all that a cgroup tells', () => {
  it('is read from version 1', () => {
    const controllers = 'blkio memory pids cpu,cpuacct'.split(' ');
    const found = detail({
      'proc/42/cgroup': controllers.map((name, i) => `${i}:${name}:/docker/c`).join('\n'),
      'cg/cpuacct/docker/c/cpuacct.stat': 'user 150\nsystem 50\n',
      'cg/cpu/docker/c/cpu.stat': 'nr_periods 10\nnr_throttled 4\nthrottled_time 5000\n',
      'cg/cpu/docker/c/cpu.shares': '512\n',
      'cg/cpu/docker/c/cpu.cfs_period_us': '100000\n',
      'cg/cpu/docker/c/cpu.cfs_quota_us': '50000\n',
      'cg/memory/docker/c/memory.stat':
        'cache 1\nrss 2\ntotal_cache 10\ntotal_swap 30\ntotal_mapped_file 40\ntotal_pgfault 50\n' +
        'total_pgmajfault 60\ntotal_inactive_file 70\ntotal_active_file 80\n',
      'cg/memory/docker/c/memory.max_usage_in_bytes': '9000\n',
      'cg/memory/docker/c/memory.kmem.usage_in_bytes': '100\n',
      'cg/memory/docker/c/memory.failcnt': '3\n',
      'cg/memory/docker/c/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
      'cg/memory/docker/c/memory.soft_limit_in_bytes': unlimited,
      'cg/memory/docker/c/memory.memsw.limit_in_bytes': '7000\n',
      'cg/blkio/docker/c/blkio.throttle.io_service_bytes':
        '8:0 Read 4096\n8:0 Write 512\n8:0 Total 4608\nTotal 4608\n',
      'cg/blkio/docker/c/blkio.throttle.io_serviced': '8:0 Read 2\n8:0 Write 1\nTotal 3\n',
      'cg/pids/docker/c/cgroup.procs': '42\n43\n',
      'cg/pids/docker/c/pids.max': 'max\n',
    });
    expect(found).toEqual({
      cgroup: '/docker/c',
      cpu: {
        userNs: 15e8,
        systemNs: 5e8,
        periods: 10,
        throttledPeriods: 4,
        throttledNs: 5000,
        shares: 512,
        periodMicros: 100_000,
        quotaMicros: 50_000,
      },
      memory: {
        maxUsageBytes: 9000,
        cacheBytes: 10,
        swapBytes: 30,
        mappedFileBytes: 40,
        kernelBytes: 100,
        activeFileBytes: 80,
        inactiveFileBytes: 70,
        failures: 3,
        pageFaults: 50,
        majorPageFaults: 60,
        oomKills: 2,
        swapLimitBytes: 7000,
      },
      devices: [{ device: '8:0', readBytes: 4096, writeBytes: 512, reads: 2, writes: 1 }],
      processes: 2,
      pressure: { cpu: {}, memory: {}, io: {} },
    });
  });

  it('is read from version 2, with the time lost to pressure', () => {
    const scope = 'cg/system.slice/docker-c.scope';
    const found = detail({
      'proc/42/cgroup': '0::/system.slice/docker-c.scope\n',
      'cg/cgroup.controllers': 'cpu io memory pids\n',
      [`${scope}/cpu.stat`]:
        'usage_usec 9\nuser_usec 6\nsystem_usec 3\nnr_periods 8\nnr_throttled 2\nthrottled_usec 7\n',
      [`${scope}/cpu.weight`]: '39\n',
      [`${scope}/cpu.max`]: 'max 100000\n',
      [`${scope}/memory.stat`]:
        'anon 1\nfile 10\nkernel 20\nfile_mapped 40\ninactive_file 70\nactive_file 80\n' +
        'pgfault 50\npgmajfault 60\n',
      [`${scope}/memory.peak`]: '9000\n',
      [`${scope}/memory.swap.current`]: '30\n',
      [`${scope}/memory.swap.max`]: '0\n',
      [`${scope}/memory.low`]: '4096\n',
      [`${scope}/memory.events`]: 'low 0\nhigh 0\nmax 5\noom 1\noom_kill 1\n',
      [`${scope}/io.stat`]: '179:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n',
      [`${scope}/cgroup.procs`]: '42\n',
      [`${scope}/pids.max`]: '100\n',
      [`${scope}/cpu.pressure`]: 'some avg10=0.00 avg60=0.00 avg300=0.00 total=11\n',
      [`${scope}/memory.pressure`]:
        'some avg10=1.53 avg60=0.87 avg300=1.73 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=13\n',
    });
    expect(found).toEqual({
      cgroup: '/system.slice/docker-c.scope',
      cpu: {
        userNs: 6000,
        systemNs: 3000,
        periods: 8,
        throttledPeriods: 2,
        throttledNs: 7000,
        shares: 998,
        periodMicros: 100_000,
      },
      memory: {
        maxUsageBytes: 9000,
        cacheBytes: 10,
        swapBytes: 30,
        mappedFileBytes: 40,
        kernelBytes: 20,
        activeFileBytes: 80,
        inactiveFileBytes: 70,
        failures: 5,
        pageFaults: 50,
        majorPageFaults: 60,
        oomKills: 1,
        reservationBytes: 4096,
        swapLimitBytes: 0,
      },
      devices: [{ device: '179:0', readBytes: 4096, writeBytes: 512, reads: 2, writes: 1 }],
      processes: 1,
      threadsMax: 100,
      pressure: { cpu: { someNs: 11_000 }, memory: { someNs: 12_000, fullNs: 13_000 }, io: {} },
    });
  });

  it('is nothing of a process that is gone', () => {
    expect(detail({})).toBeUndefined();
  });
});

describe('how a machine is', () => {
  it('is told by load, heat, pressure and what a Pi’s firmware says', () => {
    write({
      'proc/loadavg': '0.52 1.08 2.00 3/456 789\n',
      'proc/pressure/cpu': 'some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n',
      'sys/class/thermal/thermal_zone0/type': 'cpu-thermal\n',
      'sys/class/thermal/thermal_zone0/temp': '61234\n',
      'sys/class/thermal/thermal_zone1/type': 'off\n',
      'sys/class/thermal/thermal_zone1/temp': '-274000\n',
      'sys/class/thermal/cooling_device0/type': 'fan\n',
      'sys/devices/platform/soc/soc:firmware/get_throttled': '50005\n',
    });
    expect(readMachineHealth(path.join(root, 'proc'), path.join(root, 'sys'))).toEqual({
      load: [0.52, 1.08, 2],
      celsius: { 'cpu-thermal': 61.234 },
      throttled: {
        now: ['under-voltage', 'throttled'],
        sinceBoot: ['under-voltage', 'throttled'],
      },
      pressure: { cpu: { someNs: 5000 }, memory: {}, io: {} },
    });
  });

  it('is unknown where a machine has no such thing', () => {
    expect(readMachineHealth(path.join(root, 'proc'), path.join(root, 'sys'))).toEqual({});
  });

  it.each([
    ['0', [], []],
    ['80000\n', [], ['soft-temperature-limit']],
    ['2', ['frequency-capped'], []],
    ['throttled=0x1', ['under-voltage'], []],
  ])('a Pi that says %s', (text, now, sinceBoot) => {
    expect(throttledOf(text)).toEqual({ now, sinceBoot });
  });
});
