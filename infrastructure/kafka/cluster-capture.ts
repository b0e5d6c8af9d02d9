import kafkajs, { type Cluster, type PartitionAssigner } from 'kafkajs';

/**
 * The assigner that kafkajs uses by itself. kafkajs hands assigners its cluster when a consumer is made, which is
 * the one public way to have it: for requests that no client makes, and to cut connections that hang.
 */
export const assignerTelling =
  (tell: (cluster: Cluster) => void): PartitionAssigner =>
  (config) => {
    tell(config.cluster);
    return kafkajs.PartitionAssigners.roundRobin(config);
  };
