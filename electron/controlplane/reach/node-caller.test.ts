import { expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { EventHandlers } from '#kube/client/informer.ts';
import { settle } from '#kube/client/testing/scripted-transport.ts';
import type { TransportStream } from '#kube/client/transport.ts';
import type { KubeletRequest } from '../apiserver/handlers/kubelet-client.ts';
import { NodeCaller } from './node-caller.ts';

function node(name: string, ready: 'True' | 'Unknown' = 'True'): Node {
  const conditions = [{ type: 'Ready', status: ready }];
  return { apiVersion: 'v1', kind: 'Node', metadata: { name }, spec: {}, status: { conditions } };
}

function start(address?: string) {
  const clock = new ManualClock();
  const stop = new AbortController();
  const asked: string[] = [];
  const requests: KubeletRequest[] = [];
  let handlers: EventHandlers<Node> = {};
  const synced = Promise.withResolvers<void>();
  const world = { status: 200, isSilent: false };
  const caller = new NodeCaller({
    nodes: {
      addHandler(given: EventHandlers<Node>) {
        handlers = given;
        return () => void (handlers = {});
      },
      whenSynced: () => synced.promise,
    },
    kubelet: {
      async stream(name: string, request: KubeletRequest): Promise<TransportStream> {
        asked.push(name);
        requests.push(request);
        if (world.isSilent)
          return new Promise((_resolve, reject) => {
            request.signal.addEventListener('abort', () => reject(new Error('too late')));
          });
        return { status: world.status, headers: {}, chunks: (async function* () {})() };
      },
    },
    localNodeName: 'laptop',
    port: 7443,
    address,
    clock,
    logger: silentLogger,
    signal: stop.signal,
  });
  void caller.start();
  return {
    clock,
    stop,
    asked,
    requests,
    world,
    caller,
    add: (added: Node) => handlers.onAdd?.(added, true),
    update: (next: Node) => handlers.onUpdate?.(next, next),
    async sync(): Promise<void> {
      synced.resolve();
      await settle();
    },
    async pass(ms: number): Promise<void> {
      clock.advance(ms);
      await settle();
    },
  };
}

it('tells all when it starts but who is on its own machine, and is still after that', async () => {
  const { add, sync, asked, requests, clock } = start();
  for (const name of ['laptop', 'pi', 'nas']) add(node(name));
  expect(asked).toEqual([]);
  await sync();
  expect(asked).toEqual(['pi', 'nas']);
  const [request] = requests;
  expect(`${request?.method} ${request?.path}?${request?.query.toString()}`).toBe(
    'PUT /flotilla/api-server?port=7443',
  );
  expect(request).toMatchObject({ addressTimeoutMs: 2_000 });
  expect(clock.nextTimerMs()).toBeUndefined();
});

it('says where it listens when that is one address', async () => {
  const { add, sync, requests } = start('10.0.0.2');
  add(node('pi'));
  await sync();
  expect(requests[0]?.query.toString()).toBe('port=7443&address=10.0.0.2');
});

it('tells all again when its place is another, and again who does not take it', async () => {
  const { add, sync, asked, caller, world, pass, clock } = start();
  add(node('pi'));
  await sync();
  world.status = 500;
  caller.tell();
  await settle();
  world.status = 200;
  await pass(1_000);
  expect(asked).toEqual(['pi', 'pi', 'pi']);
  expect(clock.nextTimerMs()).toBeUndefined();
});

it('calls who is lost until it is heard of', async () => {
  const { add, update, sync, asked, pass, clock } = start();
  add(node('pi'));
  await sync();
  update(node('pi', 'Unknown'));
  await settle();
  await pass(1_000);
  expect(asked).toEqual(['pi', 'pi', 'pi']);
  update(node('pi'));
  await settle();
  expect(clock.nextTimerMs()).toBeUndefined();
});

it('gives up who says nothing, and calls again', async () => {
  const { add, sync, asked, world, pass } = start();
  world.isSilent = true;
  add(node('pi'));
  await sync();
  await pass(9_999);
  expect(asked).toHaveLength(1);
  world.isSilent = false;
  await pass(1);
  await pass(1_000);
  expect(asked).toEqual(['pi', 'pi']);
});

it('does nothing any more when it is stopped', async () => {
  const { add, sync, asked, world, stop, caller, clock } = start();
  world.status = 500;
  add(node('pi'));
  await sync();
  stop.abort();
  caller.tell();
  await settle();
  expect(asked).toEqual(['pi']);
  expect(clock.nextTimerMs()).toBeUndefined();
});
