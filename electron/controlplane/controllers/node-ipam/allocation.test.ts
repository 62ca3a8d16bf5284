import { describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { podNetworkAnnotations } from '#kube/machinery/pod-networks.ts';
import { allocate } from './allocation.ts';

interface Told {
  readonly machine?: string;
  readonly pods?: string;
  readonly cidr?: string;
}

function node(name: string, { machine, pods, cidr }: Told): Node {
  const annotations = {
    ...(machine !== undefined && { [podNetworkAnnotations.machineNetworks]: machine }),
    ...(pods !== undefined && { [podNetworkAnnotations.podNetwork]: pods }),
  };
  const spec = cidr === undefined ? {} : { podCIDR: cidr };
  return { apiVersion: 'v1', kind: 'Node', metadata: { name, annotations }, spec };
}

const home = '192.168.1.0/24';
const first = (others: readonly Node[], own: Told = { machine: home }, given = {}) =>
  allocate(node('new', own), [node('new', own), ...others], new Map(Object.entries(given)));

describe("a node's network for pods", () => {
  it('waits until the machine has told what it is connected to', () => {
    expect(first([], {})).toBeUndefined();
  });

  it('is the first free one of the range', () => {
    const others = [
      node('a', { machine: home, cidr: '10.244.0.0/24' }),
      node('b', { machine: home, cidr: '10.244.2.0/24' }),
    ];
    expect(first(others)).toEqual({ cidr: '10.244.1.0/24' });
  });

  it('is not one that was given a moment ago', () => {
    const others = [node('a', { machine: home })];
    expect(first(others, undefined, { a: '10.244.0.0/24' })).toEqual({ cidr: '10.244.1.0/24' });
  });

  it('overlaps nothing that any machine of the cluster is connected to', () => {
    const others = [node('vpn', { machine: `${home},10.244.0.0/23`, cidr: '10.244.9.0/24' })];
    const own = { machine: '172.17.0.0/16,10.244.2.0/25' };
    expect(first(others, own)).toEqual({ cidr: '10.244.3.0/24' });
  });

  it('is of another range, with the reason, when all of the usual one is in use', () => {
    const others = [node('office', { machine: `${home},10.0.0.0/8` })];
    expect(first(others)).toEqual({
      cidr: '172.30.0.0/24',
      why: 'nothing of 10.244.0.0/16 is free: the network 10.0.0.0/8 of office is in it',
    });
  });

  it('is refused when nothing is free', () => {
    const own = { machine: '0.0.0.0/1,128.0.0.0/1' };
    expect(first([], own)).toHaveProperty('refusal');
  });

  it('is the one its pods are in already, whatever is beside it', () => {
    const own = { machine: `${home},10.244.0.0/16`, pods: '10.244.7.0/24' };
    expect(first([], own)).toEqual({ cidr: '10.244.7.0/24' });
  });

  it('is another one when another network of the machine is inside of it', () => {
    const own = { machine: `${home},10.244.7.128/25`, pods: '10.244.7.0/24' };
    expect(first([], own)).toEqual({ cidr: '10.244.0.0/24' });
  });

  it('is another one when the pods of another node are in the same', () => {
    const own = { machine: home, pods: '10.244.7.0/24' };
    const others = [node('a', { machine: home, cidr: '10.244.7.0/24' })];
    expect(first(others, own)).toEqual({ cidr: '10.244.0.0/24' });
  });

  it('is none that an agent would like to have for other reasons', () => {
    expect(first([], { machine: home, pods: '10.0.0.0/8' })).toEqual({ cidr: '10.244.0.0/24' });
  });

  it('leaves free what the pods of a node without one are in', () => {
    const others = [node('old', { machine: home, pods: '10.244.0.0/24' })];
    expect(first(others)).toEqual({ cidr: '10.244.1.0/24' });
  });

  it('does not mind what nobody can read', () => {
    expect(first([], { machine: 'nonsense,,fe80::/64' })).toEqual({ cidr: '10.244.0.0/24' });
  });
});
