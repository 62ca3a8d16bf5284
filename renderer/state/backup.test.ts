import { describe, expect, it } from 'vitest';
import type { ClusterBackup, ClusterBackupStatus } from '#kube/api/cluster-backup.ts';
import { backupAttention, describeBackup } from './backup.ts';

const nowMs = Date.parse('2026-11-25T12:00:00Z');
const folder = { target: { folder: { path: '/media/backup' } } };
const success = {
  time: '2026-11-25T09:00:00Z',
  name: 'cluster-1/x.age',
  place: 'the folder /media/backup',
  sizeBytes: 1,
};
const tooOld = {
  type: 'Protected',
  status: 'False',
  reason: 'TooOld',
  message: '',
  lastTransitionTime: '',
} as const;

function backup(
  status: ClusterBackupStatus = {},
  spec: ClusterBackup['spec'] = folder,
): ClusterBackup {
  return {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'ClusterBackup',
    metadata: { name: 'home' },
    spec,
    status,
  };
}

describe('the backup in words', () => {
  const recipient = 'age1x';
  const failed = { time: success.time, message: 'The disk is full.' };
  const cases = [
    {
      name: 'without a passphrase',
      given: backup({}, {}),
      want: ['wait', 'Your home is not backed up'],
    },
    {
      name: 'without a place',
      given: backup({ recipient }, {}),
      want: ['wait', 'There is no place for backups yet'],
    },
    {
      name: 'before the first',
      given: backup({ recipient }),
      want: ['busy', 'The first backup is on its way'],
    },
    {
      name: 'when the first failed',
      given: backup({ recipient, lastFailure: failed }),
      want: ['trouble', 'Your home could not be backed up'],
    },
    {
      name: 'when all is well',
      given: backup({ recipient, lastSuccess: success }),
      want: ['ok', 'Backed up 3 h ago'],
    },
    {
      name: 'when it is too old',
      given: backup({
        recipient,
        lastSuccess: { ...success, time: '2026-11-20T12:00:00Z' },
        conditions: [tooOld],
      }),
      want: ['trouble', 'The last backup is 5 days old'],
    },
    {
      name: 'when a person suspended it',
      given: backup({ recipient, lastSuccess: success }, { ...folder, suspend: true }),
      want: ['asleep', 'The last backup is 3 h old'],
    },
  ] as const;
  for (const { name, given, want } of cases)
    it(`${name}: ${want[1]}`, () => {
      const { tone, headline } = describeBackup(given, nowMs);
      expect([tone, headline]).toEqual(want);
    });

  it('is on the first page when there are apps, and it is neither well nor meant to be so', () => {
    const titles = cases.map(({ given }) => backupAttention(given, 1, nowMs)?.title);
    expect(titles.map((title) => title !== undefined)).toEqual([
      true,
      true,
      false,
      true,
      false,
      true,
      false,
    ]);
    expect(backupAttention(cases[0].given, 0, nowMs)).toBeUndefined();
    expect(backupAttention(undefined, 1, nowMs)).toBeUndefined();
  });

  it('is running from the moment it was asked for until that is answered', () => {
    const asked = backup({ recipient, answeredRequest: 'old' });
    asked.metadata.annotations = { 'flotilla.dev/back-up-now': 'new' };
    expect(describeBackup(asked, nowMs).isRunning).toBe(true);
    asked.status = { ...asked.status, answeredRequest: 'new' };
    expect(describeBackup(asked, nowMs).isRunning).toBe(false);
  });
});
