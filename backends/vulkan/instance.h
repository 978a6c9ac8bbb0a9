/* instance.h: Vulkan itself: the loader, its functions, the adapters. One per context.
 *
 * The loader is opened at run time and its functions stand in tables of ours, so that nothing is linked,
 * nothing is global, and tests can put themselves between us and the driver. A machine without Vulkan has an
 * instance too: it lists one adapter that says what is missing.
 */
#ifndef STRATA_VULKAN_INSTANCE_H
#define STRATA_VULKAN_INSTANCE_H

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include <strata/extend.h>

#include <pthread.h>

extern const strata_backend_def strata_backend_vulkan;

/* For headers that are older than the extension. */
#ifndef VK_KHR_cooperative_matrix
struct VkCooperativeMatrixPropertiesKHR;
typedef VkResult(VKAPI_PTR *PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)(
    VkPhysicalDevice, uint32_t *, struct VkCooperativeMatrixPropertiesKHR *);
#endif

typedef struct vk_functions {
#define VK_GLOBAL(name)   PFN_vk##name name;
#define VK_INSTANCE(name) PFN_vk##name name;
#define VK_OPTIONAL(name) PFN_vk##name name;
#define VK_DEVICE(name)   PFN_vk##name name;
#include "functions.def"
} vk_functions;

/* How convolutions are computed. */
typedef enum vk_conv_choice { VK_CONV_AUTO, VK_CONV_DIRECT, VK_CONV_GEMM, VK_CONV_VECTOR } vk_conv_choice;

/* What tests and debugging change. All zero is the usual way. */
typedef struct vk_config {
    const char    *library;       /* of the loader; NULL: libvulkan.so.1 */
    const char    *glsl_library;  /* of the compiler for shader texts; NULL: see glsl.h */
    const char    *cache_folder;  /* for pipelines; NULL: that of the user; "": nowhere */
    bool           validation;    /* the layer of Khronos, with synchronization validation */
    bool           gpu_assisted;  /* ... and its checks inside shaders instead of the synchronization ones */
    bool           staging;       /* copies through the staging ring, even where memory could be mapped */
    bool           window;        /* ... but for short writes, as on GPUs whose memory can be reached over the bus */
    bool           separate;      /* every slice is a buffer of its own: layers check the bounds of buffers */
    bool           poison;        /* new buffers are filled with NaN */
    bool           no_barriers;   /* wrong on purpose: to show that validation notices */
    double         segment_flops; /* of one command buffer; 0: by the kind of device */
    vk_conv_choice conv;
    int            tile;          /* of the implicit matrix product: 1 + index of its shape; 0: free */
    int            split;         /* ... and of its sum; 0: free */
    /* Called with the functions of the instance and of each device; may replace them. */
    void (*wrap)(void *user, vk_functions *fn);
    /* Warnings and errors of the validation layer. */
    void (*message)(void *user, const char *text);
    void *user;
} vk_config;

/* The extension by which shaders multiply matrices. */
typedef enum vk_matrix { VK_MATRIX_NONE, VK_MATRIX_NV, VK_MATRIX_KHR } vk_matrix;

typedef struct vk_adapter {
    VkPhysicalDevice                   handle; /* NULL: a place to say that there is none */
    VkPhysicalDeviceProperties         properties;
    VkPhysicalDeviceIDProperties       id;
    VkPhysicalDeviceMemoryProperties   memory;
    VkPhysicalDeviceSubgroupProperties subgroup;
    VkDeviceSize                       max_allocation;
    char                               driver[128];    /* its name and version */
    uint32_t                           family;         /* of queues with compute */
    uint32_t                           timestamp_bits; /* of that family */
    uint32_t                           processors;     /* that run workgroups; a guess where the driver is silent */
    bool                               half;           /* values of float16 may lie in its memory */
    vk_matrix                          matrix;
    char                               unusable[160];  /* empty: it can be used */
    strata_device                     *opened;         /* while somebody uses it, and after; see device.c */
} vk_adapter;

typedef struct vk_instance {
    strata_context          *context;
    vk_config                config;
    void                    *library;
    vk_functions             fn;
    VkInstance               handle;
    VkDebugUtilsMessengerEXT messenger;
    vk_adapter              *adapters;
    int                      count;
    pthread_mutex_t          lock; /* over adapters[].opened and users of devices */

    /* Of kernels with shaders of their own, under lock too. */
    struct vk_user_shader       *user_shaders; /* those that were used: user.c */
    const struct vk_glsl_module *glsl;         /* NULL until a text was compiled: glsl.c */
    void                        *glsl_library;
} vk_instance;

/* abilities.c: sets processors, half and matrix of an adapter. */
void vk_find_abilities(const vk_instance *v, vk_adapter *a);
/* A device with all of these that it has. */
VkResult vk_create_device(const vk_functions *fn, const vk_adapter *a, const VkDeviceQueueCreateInfo *queue,
                          VkDevice *out);

/* The instance of a context; NULL when out of memory. */
vk_instance *vk_instance_of(strata_context *ctx);
/* The same with a configuration of one's own, when nobody has asked before. */
vk_instance *vk_instance_with(strata_context *ctx, const vk_config *config);

/* ---- glsl.c, user.c ---- */
/* The SPIR-V of a compute shader, which the caller frees. With v->lock held. */
strata_status vk_glsl_compile(vk_instance *v, const char *text, uint32_t **words, size_t *bytes, strata_error *err);
void          vk_glsl_close(vk_instance *v);
void          vk_user_close(vk_instance *v); /* shaders and compiler */

/* ---- result.c ---- */
/* "VK_ERROR_DEVICE_LOST" and the like. */
const char *vk_result_name(VkResult r);
/* Fills err with "what: VK_...: what that means"; gives the status that fits. */
strata_status vk_fail(strata_error *err, VkResult r, const char *fmt, ...) STRATA_PRINTF(3, 4);

#endif
