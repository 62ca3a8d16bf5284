// Puts together the backup of the cluster (backup/): where its state and keys lie, and when this cluster may give way to
// one that is adopted.
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { InformerFactory } from '#kube/client/informer.ts';
import {
  daemonSets,
  deployments,
  leases,
  nodes,
  persistentVolumeClaims,
  pods,
} from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { apiServerNamespace, apiServerPlace } from '#kube/machinery/api-servers.ts';
import { HttpsTransport } from '#platform/https-transport.ts';
import type { ClusterPki } from '#platform/pki.ts';
import type { SealingKey } from '#platform/sealed-stream.ts';
import type { ApiHandler } from './apiserver/http.ts';
import type { SetBackupPassphrase } from './apiserver/handlers/backup-passphrase.ts';
import type { Backing } from './backing.ts';
import { stageAdoption } from './backup/adoption.ts';
import { backupPassphraseSetter, readBackupKey } from './backup/backup-key.ts';
import { openClusterArchive, type ClusterArchive } from './backup/cluster-archive.ts';
import { runClusterBackups } from './backup/cluster-backups.ts';
import { BackupRefusedError } from './backup/manifest.ts';
import { createBackupPaths, successionPath } from './backup/paths.ts';
import { noteSuperseded, tellPredecessors } from './backup/succession.ts';

/** Nobody is there, most often. */
const answerMs = 5_000;

export interface ClusterBackupDeps {
  readonly dataDirectory: string;
  readonly nodeName: string;
  readonly version: string;
  readonly own: Backing['own'];
  /** With the rights of `cluster-backup`; asked for when the API serves. */
  readonly client: () => RestClient;
  /** Sees all apps. */
  readonly reader: () => RestClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly pki: ClusterPki;
  readonly onRestart: (why: string) => void;
}

export interface ClusterBackupParts {
  readonly setBackupPassphrase: SetBackupPassphrase;
  readonly paths: ApiHandler;
  /** Where the control plane leads, until `signal` aborts. */
  readonly run: (informers: InformerFactory, signal: AbortSignal) => Promise<void>;
}

export function createClusterBackup(deps: ClusterBackupDeps): ClusterBackupParts {
  const { dataDirectory, nodeName, version: release, own, client, clock, random } = deps;
  const openArchive = async (key: SealingKey): Promise<ClusterArchive> => {
    if (own === undefined)
      throw new BackupRefusedError(
        "The state is kept by an etcd (--datastore): back it up by etcd's own tools, and the folder pki beside it.",
      );
    const pki = path.join(dataDirectory, 'pki');
    const openState = () => own.members.openBackup();
    const addresses = () => servedAddresses(deps.reader());
    const from = { openState, pki, release, nodeName, addresses, clock };
    return await openClusterArchive(from, key);
  };
  return {
    setBackupPassphrase: backupPassphraseSetter({ client, clock, random }),
    paths: createBackupPaths({
      key: () => readBackupKey(client()),
      openArchive,
      whyNotAdopt: () => whyNotAdopt(deps),
      adopt: (chunks, unlocking, signal) =>
        stageAdoption(chunks, {
          dataDirectory,
          file: 'The backup',
          release,
          unlocking,
          clock,
          random,
          signal,
        }),
      lineage: () => own?.opened.state.lineage ?? [],
      async giveWay(to) {
        await noteSuperseded(dataDirectory, to);
        // In order, so that the answer goes first; the next start ends with the sentence.
        clock.timer(0, () => deps.onRestart('another computer goes on as this cluster'));
      },
      restart: () => clock.timer(0, () => deps.onRestart('a backup is adopted')),
    }),
    async run(informers, signal) {
      const parts = { ...deps, client: client(), informers, openArchive };
      const tell = (address: string, since: string) => tellSuccession(deps, address, since);
      await Promise.all([
        runClusterBackups(parts, signal),
        tellPredecessors({ ...deps, tell }, signal),
      ]);
    },
  };
}

async function servedAddresses(client: RestClient): Promise<readonly string[]> {
  const { items } = await client.list(leases, { namespace: apiServerNamespace });
  return items
    .map(apiServerPlace)
    .filter((place) => place !== undefined)
    .map(({ address, port }) => `${address}:${port}`);
}

/** True: whoever is there has heard it, or is this cluster itself. */
async function tellSuccession(
  { pki, own, nodeName, clock }: ClusterBackupDeps,
  address: string,
  since: string,
): Promise<boolean> {
  const lineage = own?.opened.state.lineage ?? [];
  const server = `https://${address}`;
  const admin = await pki.admin();
  const config = { server, caPem: pki.caPem, serverName: 'kubernetes', ...admin };
  const transport = new HttpsTransport(config, clock);
  try {
    const { status } = await transport.request({
      method: 'POST',
      path: successionPath,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ lineage, nodeName, since }),
      signal: AbortSignal.timeout(answerMs),
    });
    return status === 200;
  } finally {
    transport.close();
  }
}

/** What is there would be lost to whoever looks at the page: only a cluster that holds nothing gives way. */
async function whyNotAdopt({
  own,
  reader,
  nodeName,
}: ClusterBackupDeps): Promise<string | undefined> {
  const instead =
    'start Flotilla with an unused data directory for it (`npm start -- --data DIR --adopt FILE`).';
  if (own === undefined) return `The state of this cluster is kept by an etcd: ${instead}`;
  const { members } = own.members.report();
  if (members.length > 1) return `Several machines keep the state of this cluster: ${instead}`;
  const client = reader();
  const { items: machines } = await client.list(nodes);
  const other = machines.find(({ metadata }) => metadata.name !== nodeName);
  if (other !== undefined)
    return `This cluster has other machines (${other.metadata.name}): ${instead}`;
  const lists = await Promise.all([
    client.list(deployments),
    client.list(daemonSets),
    client.list(pods),
    client.list(persistentVolumeClaims),
  ]);
  const all = lists.flatMap(({ items }) => items.map(({ metadata }) => metadata));
  const app = all.find(({ namespace }) => namespace?.startsWith('kube-') !== true);
  if (app !== undefined)
    return `This cluster has apps already (${app.name}), which would be lost: ${instead}`;
  return undefined;
}
