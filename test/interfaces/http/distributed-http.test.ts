import { configFrom } from '../../../infrastructure/config/config.ts';
import { pinoLog } from '../../../infrastructure/pino-log.ts';
import { serve } from '../../../interfaces/composition/roles.ts';
import { httpContract } from '../../contracts/http.contract.ts';
import { distributedStores } from '../../support/distributed-stores.ts';
import { needs, onMariadbAndMysql } from '../../support/servers.ts';

needs('KAFKA_BROKERS', 'The distributed profile', (brokers) =>
  onMariadbAndMysql('on its three stores', (mysqlUrl) =>
    httpContract('The distributed profile', async () => {
      const stores = await distributedStores(brokers, mysqlUrl);
      const served = await serve(configFrom({ ...stores.env, PORT: '0' }), pinoLog('silent', 'serve'));
      return {
        url: served.url,
        async close() {
          await served.close();
          await stores.close();
        },
      };
    }),
  ),
);
