import { expect, it } from 'vitest';
import { networkNames } from './names.ts';
import { networkRulesText } from './network-rules.ts';

it('the rules are those of the golden file', async () => {
  const wanted = {
    podCidr: '10.244.1.0/24',
    cluster: ['10.244.1.0/24', '10.244.2.0/24', '10.77.0.11', '10.77.0.12'],
  };
  const text = networkRulesText(wanted, networkNames('a-cluster'));
  await expect(text).toMatchFileSnapshot('testdata/rules.nft');
});
