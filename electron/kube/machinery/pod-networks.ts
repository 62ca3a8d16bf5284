// What agents and the control plane agree on about the networks of pods.

export const podNetworkAnnotations = {
  /**
   * On a Node: the networks its machine is in or has routes to, with commas. A machine is given a network for
   * its pods once it has told them.
   */
  machineNetworks: 'flotilla.dev/machine-networks',
  /** On a Node: the network that its pods are in already. */
  podNetwork: 'flotilla.dev/pod-network',
} as const;
