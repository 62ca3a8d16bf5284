// Who made a network card, by the first three bytes of its address: those by which a home-lab machine is
// known. Source: the IEEE's registry of assignments (MA-L), facts only.

const vendors: Readonly<Record<string, readonly string[]>> = {
  'Raspberry Pi': [
    '28:cd:c1',
    '2c:cf:67',
    '88:a2:9e',
    'b8:27:eb',
    'd8:3a:dd',
    'dc:a6:32',
    'e4:5f:01',
  ],
  Synology: ['00:11:32', '90:09:d0'],
  QNAP: ['00:08:9b', '24:5e:be'],
  NVIDIA: ['00:04:4b', '48:b0:2d'],
};

const byPrefix = new Map(
  Object.entries(vendors).flatMap(([vendor, prefixes]) =>
    prefixes.map((prefix) => [prefix, vendor] as const),
  ),
);

/** Of `b8:27:eb:12:34:56`; undefined: none of those that matter here. */
export function vendorOf(hardwareAddress: string): string | undefined {
  return byPrefix.get(hardwareAddress.slice(0, 8).toLowerCase());
}
