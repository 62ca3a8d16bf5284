// What holds here, in the kubelet's words: /configz. Only what is so; it can't be set by a file.
// Source: kubernetes kubelet/config/v1beta1/types.go.

export function agentConfiguration(address: string, port: number): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    enableServer: true,
    address,
    port,
    readOnlyPort: 0,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true, cacheTTL: '2m0s' },
    },
    authorization: {
      mode: 'Webhook',
      webhook: { cacheAuthorizedTTL: '5m0s', cacheUnauthorizedTTL: '30s' },
    },
    streamingConnectionIdleTimeout: '4h0m0s',
    nodeStatusReportFrequency: '5m0s',
    containerLogMaxSize: '10Mi',
    containerLogMaxFiles: 5,
    serializeImagePulls: false,
    maxParallelImagePulls: 3,
    enableControllerAttachDetach: false,
    failSwapOn: false,
  };
}
