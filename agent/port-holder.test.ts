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
    listeningInodes(table, 80),
    listeningInodes(table, 8080),
    listeningInodes(table, 81),
  ]).toEqual([['4711'], ['4713'], []]);
});

it('this process is found by its port', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  expect(await portHolder(port)).toMatch(new RegExp(`\\(process ${process.pid}\\)$`));
  await new Promise((resolve) => server.close(resolve));
  expect(await portHolder(port)).toBeUndefined();
});
