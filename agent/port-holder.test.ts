import { createServer, type AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { listeningInodes, portHolder } from './port-holder.ts';

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:0050 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
`;

it('who listens is read from the kernel’s table, not who is connected', () => {
  expect([
    listeningInodes(table, { port: 80 }),
    listeningInodes(table, { port: 8080 }),
    listeningInodes(table, { port: 81 }),
  ]).toEqual([['4711'], ['4713'], []]);
  const outside = [80, 8080].map((port) => listeningInodes(table, { port, exceptLoopback: true }));
  expect(outside).toEqual([[], ['4713']]);
  const row = (local: string): string => `0: ${local}:0035 x:0 0A 0:0 0:0 0 0 0 4714 1 0`;
  const six = ['0'.repeat(24) + '01000000', '0'.repeat(16) + 'FFFF00003500007F', '0'.repeat(32)];
  expect(
    six.map((local) => listeningInodes(row(local), { port: 53, exceptLoopback: true })),
  ).toEqual([[], [], ['4714']]);
});

it('this process is found by its port', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  expect(await portHolder(port)).toMatch(new RegExp(`\\(process ${process.pid}\\)$`));
  await new Promise((resolve) => server.close(resolve));
  expect(await portHolder(port)).toBeUndefined();
});
